"""Queries of the made catalog by kind, as shoppers write them, each with what is true of its right items.

A line is 'query => facts': facts of right items, '!fact' one that no item may have, '<20' and '>20' bounds of the price.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from components.shared.search.tests.made_catalog import MadeItem, made_catalog
from components.shared.search.tests.made_products import PRODUCTS
from components.shared.search.tests.made_queries_by_script import BY_SCRIPT
from components.shared.text.scripts import fold

_SEED, _TYPOS, _LETTERS = 7, 42, "abcdefghijklmnopqrstuvwxyz"

_WRITTEN = {
    "exact words": """
        ground coffee => ground coffee
        vanilla ice cream => ice cream, vanilla
        extra virgin olive oil => olive oil, extra virgin
        wireless keyboard => keyboard, wireless
        gaming mouse => mouse, gaming
        curved monitor => monitor, curved
        cast iron frying pan => frying pan, cast iron
        yoga mat => yoga mat
        salmon cat food => cat food, salmon
        dark chocolate hazelnut => dark chocolate, hazelnut
        jasmine green tea => green tea, jasmine
        jasmine rice => jasmine rice
        weighted blanket => blanket, weighted
        noise cancelling headphones => headphones, noise cancelling
        red dress => dress, red
        evening dress blue => dress, evening, blue
        backpack for school => backpack, school
        orange juice => orange juice
        water bottle glass => water bottle, glass
        phone case for galaxy s24 => phone case, Galaxy S24
        power bank slim => power bank, slim
        wool socks grey => socks, wool, grey
        overnight diapers => diapers, overnight
        lavender hand soap => hand soap, lavender
        peanut butter crunchy => peanut butter, crunchy
    """,
    "plural and inflected": """
        dresses => dress
        blankets => blanket
        keyboards mechanical => keyboard, mechanical
        kitchen knives => kitchen knife
        bread knives => kitchen knife, bread
        headphone wireless => headphones, wireless
        cookie butter => cookies, butter
        diaper newborn => diapers, newborn
        running shoe => running shoes
        sock cotton => socks, cotton
        toothbrushes => toothbrush
        mice for gaming => mouse, gaming
        monitors curved => monitor, curved
        water bottles insulated => water bottle, insulated
        yoga mats => yoga mat
        frying pans => frying pan
        light bulbs => LED light bulb
        phone cases galaxy s24 => phone case, Galaxy S24
        mens running shoes => running shoes, men's
        womens rain jacket => rain jacket, women's
        women t-shirts => T-shirt, women's
        kid rain jackets => rain jacket, kids'
        yoghurts blueberry => yogurt, blueberry
        batteries power bank => power bank
        coffee bean decaf => coffee beans, decaf
    """,
    "compounds": """
        icecream => ice cream
        ice-cream mango => ice cream, mango
        icecream vanilla 1l => ice cream, vanilla, 1000ml
        key board => keyboard
        key-board wireless => keyboard, wireless
        tooth brush => toothbrush
        tooth paste whitening => toothpaste, whitening
        electric tooth-brush => toothbrush, electric
        head phones => headphones
        ear buds => earbuds
        ear-buds sport => earbuds, sport
        back pack => backpack
        sun screen spf50 => sunscreen, spf 50
        dish washer tablets => dishwasher tablets
        smart watch => smartwatch
        smart-watch gps => smartwatch, GPS
        powerbank 10000mah => power bank, 10000mah
        harddrive => hard drive
        hard-drive rugged => hard drive, rugged
        airfryer => air fryer
        usbc cable => USB-C cable
        usb c cable braided => USB-C cable, braided
        usb-c cable => USB-C cable
        tshirt => T-shirt
        t shirt kids => T-shirt, kids'
        wifi router => Wi-Fi router
        wi fi router mesh => Wi-Fi router, mesh
        wi-fi router dual band => Wi-Fi router, dual-band
        nonstick frying pan => frying pan, non-stick
        non stick pan => frying pan, non-stick
        microsd memory card => memory card, micro SD
        antidandruff shampoo => shampoo, anti-dandruff
        lightbulb => LED light bulb
        peanutbutter => peanut butter
        oatmilk => oat milk
        water proof earbuds => earbuds, waterproof
    """,
    "units": """
        olive oil 0.5 l => olive oil, 500ml
        olive oil 500 ml => olive oil, 500ml
        olive oil 750ml => olive oil, 750ml
        olive oil 1 liter => olive oil, 1000ml
        sparkling water 50 cl => sparkling water, 500ml
        sparkling water 1.5l => sparkling water, 1500ml
        orange juice 1,5 l => orange juice, 1500ml
        orange juice 1000 ml => orange juice, 1000ml
        ground coffee 1kg => ground coffee, 1000g
        ground coffee half kilo => ground coffee, 500g
        coffee beans 500 grams => coffee beans, 500g
        rice 5 kg => jasmine rice, 5000g
        rice 10000g => jasmine rice, 10000g
        cat food 1.5 kilos => cat food, 1500g
        spaghetti 1 lb => spaghetti, 16oz
        spaghetti 16 oz => spaghetti, 16oz
        spaghetti 2 pounds => spaghetti, 32oz
        laptop 15.6" => laptop, 15.6in
        laptop 15.6 inch => laptop, 15.6in
        laptop 14-inch => laptop, 14in
        gaming monitor 27 in => monitor, gaming, 27in
        31.5 inch monitor => monitor, 31.5in
        hard drive 2 tb => hard drive, 2000gb
        hard drive 2000 GB => hard drive, 2000gb
        hard drive 1TB => hard drive, 1000gb
        128gb memory card => memory card, 128gb
        toothbrush 4-pack => toothbrush, 4ct
        toothbrush 4 ct => toothbrush, 4ct
        paper towels pack of 12 => paper towels, 12ct
        diapers 72 count => diapers, 72ct
        socks 3 pairs => socks, 3ct
        usb-c cable 200 cm => USB-C cable, 2000mm
        usb-c cable 3 meters => USB-C cable, 3000mm
        frying pan 28cm => frying pan, 280mm
        frying pan 280 mm => frying pan, 280mm
        power bank 10,000 mAh => power bank, 10000mah
        power bank 20000 => power bank, 20000mah
        light bulb 9 watts => LED light bulb, 9w
        backpack 30 liters => backpack, 30000ml
    """,
    "brand and product": """
        sony headphones => headphones, Sony
        samsung monitor => monitor, Samsung
        logitech wireless mouse => mouse, Logitech, wireless
        nike running shoes => running shoes, Nike
        north face backpack => backpack, The North Face
        the north face rain jacket => rain jacket, The North Face
        loreal shampoo => shampoo, L'Oréal
        l'oreal shampoo => shampoo, L'Oréal
        ben and jerrys ice cream => ice cream, Ben & Jerry's
        ben & jerry's vanilla ice cream => ice cream, Ben & Jerry's, vanilla
        dr oetker cookies => cookies, Dr. Oetker
        h&m dress => dress, H&M
        levis t-shirt => T-shirt, Levi's
        head and shoulders shampoo => shampoo, Head & Shoulders
        ikea blanket => blanket, IKEA
        le creuset pan => frying pan, Le Creuset
        xiaomi power bank => power bank, 小米 Xiaomi
        huawei smartwatch => smartwatch, 华为 HUAWEI
        uniqlo socks => socks, 优衣库 UNIQLO
        western digital hard drive => hard drive, Western Digital
        colgate toothpaste => toothpaste, Colgate
        oatly oat milk => oat milk, Oatly
        philips light bulb => LED light bulb, Philips
        lining running shoes => running shoes, 李宁 Li-Ning
        adidas tshirt black => T-shirt, Adidas, black
    """,
    "negation": """
        coffee -decaf => !decaf
        ground coffee -decaf => ground coffee, !decaf
        ground coffee not decaf => ground coffee, !decaf
        gum without sugar => chewing gum, -sugar, !+sugar
        chewing gum no sugar => chewing gum, -sugar, !+sugar
        sugar free gum => chewing gum, -sugar, !+sugar
        sugarless gum => chewing gum, -sugar, !+sugar
        gluten-free cookies => cookies, -gluten, !+gluten
        cookies without gluten => cookies, -gluten, !+gluten
        shampoo without silicone => shampoo, -silicone, !+silicone
        silicone free shampoo => shampoo, -silicone, !+silicone
        fragrance free sunscreen => sunscreen, -fragrance, !+fragrance
        laundry detergent without any fragrance => laundry detergent, -fragrance, !+fragrance
        grain-free dog food => dog food, -grain, !+grain
        cat food -grain => cat food, -grain, !+grain
        dark chocolate -almond => dark chocolate, !almond
        dark chocolate without hazelnuts => dark chocolate, !hazelnut
        backpack -black => backpack, !black
        phone case not red => phone case, !red
        headphones -sony => headphones, !Sony
        yogurt except strawberry => yogurt, !strawberry
        headphones excluding wired -sony => headphones, !wired, !Sony
        口香糖 不含糖 => chewing gum, -sugar, !+sugar
        无糖口香糖 => chewing gum, -sugar, !+sugar
        零糖酸奶 => yogurt, -sugar, !+sugar
        无麸质饼干 => cookies, -gluten, !+gluten
        不含香精的洗手液 => hand soap, -fragrance, !+fragrance
        无硅油洗发水 => shampoo, -silicone, !+silicone
        咖啡豆 不要低因 => coffee beans, !decaf
        双肩包 不要黑色 => backpack, !black
    """,
    "price": """
        headphones under $50 => headphones, <50
        headphones below 50 dollars => headphones, <50
        keyboard less than 30 bucks => keyboard, <30
        mouse < $40 => mouse, <40
        olive oil under 10 => olive oil, <10
        dress under €40 => dress, <40
        dress under 40€ => dress, <40
        running shoes max $50 => running shoes, <50
        blanket up to $25 => blanket, <25
        laptop over $200 => laptop, >200
        monitor more than 150 dollars => monitor, >150
        smartwatch at least $100 => smartwatch, >100
        backpack $20-$50 => backpack, >20, <50
        backpack $20 to $50 => backpack, >20, <50
        yoga mat between 20 and 50 dollars => yoga mat, >20, <50
        socks 10-20 dollars => socks, >10, <20
        socks from $10 to $20 => socks, >10, <20
        sony headphones under $100 => headphones, Sony, <100
        red t-shirt $50 or less => T-shirt, red, <50
        cheap air fryer under 60 usd => air fryer, <60
        手机壳 100元以下 => phone case, <100
        100元以下的键盘 => keyboard, <100
        充电宝 50-100元 => power bank, >50, <100
        50到100元的充电宝 => power bank, >50, <100
        20块以内的酸奶 => yogurt, <20
        连衣裙 不超过80元 => dress, <80
        200元以上 显示器 => monitor, >200
        ￥100以下 鼠标 => mouse, <100
        袜子 30以内 => socks, <30
    """,
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A query with what its right items are.

    Attributes:
        kind, text: What it is.
        has: Facts of the right items.
        lacks: Facts that no item found may have.
        low, high: Bounds of the price, which no item found may break.
    """

    kind: str
    text: str
    has: frozenset[str]
    lacks: frozenset[str] = frozenset()
    low: float = 0.0
    high: float = float("inf")

    def wrong(self, item: MadeItem) -> bool:
        """Whether an item is one that the query rules out."""
        return bool(self.lacks & item.facts) or not self.low <= item.price <= self.high

    def right(self, item: MadeItem) -> bool:
        """Whether an item is what the query asks for."""
        return self.has <= item.facts and not self.wrong(item)


def made_queries() -> list[Query]:
    """All queries, those written here and those made of the catalog."""
    written = (_WRITTEN | BY_SCRIPT).items()
    return [_read(kind, line) for kind, lines in written for line in lines.strip().splitlines()] + [
        *_codes(), *_typos(),
    ]  # fmt: skip


def _read(kind: str, line: str) -> Query:
    text, _, facts = line.strip().partition(" => ")
    given = [fact.strip() for fact in facts.split(",")]
    low = [float(fact[1:]) for fact in given if fact[0] == ">"]
    high = [float(fact[1:]) for fact in given if fact[0] == "<"]
    return Query(kind, text, frozenset(fact for fact in given if fact[0] not in "!<>"),
                 frozenset(fact[1:] for fact in given if fact[0] == "!"), *(low or [0.0]), *(high or [float("inf")]))  # fmt: skip


def _codes() -> Iterator[Query]:
    """EAN, SKU and id as they are and as people type them, and model numbers beside other words."""
    devices = [item for item in made_catalog() if any(fact[1:3] == "X-" for fact in item.facts)]
    for item in Random(_SEED).sample(made_catalog()[:1900], 5):
        (_, ean), (_, sku), *_ = item.document.attributes
        typed = (ean, f"{ean[0]} {ean[1:7]} {ean[7:]}", sku, sku.lower().replace("-", ""), item.document.item_id)
        yield from (Query("codes", text, frozenset([ean])) for text in typed)
    for item in Random(_SEED).sample(devices, 4):
        model = next(fact for fact in item.facts if fact[1:3] == "X-")
        brand = item.document.brand.split()[-1]
        for text in (f"{brand} {model}", f"{brand.lower()} {model.lower().replace('-', '')}", model.replace("-", " ")):
            yield Query("codes", text, frozenset([model]))


def _typos() -> Iterator[Query]:
    """Names of products in which one word is misspelt: by one edit, from eight letters on by two."""
    random = Random(_SEED)
    known = {word for item in made_catalog() for word in fold(item.document.title).split()}
    names = [product.en.lower() for product in PRODUCTS if any(map(_may_be_misspelt, product.en.split()))]
    for at in range(_TYPOS):
        words = names[at % len(names)].split()
        place = random.choice([place for place, word in enumerate(words) if _may_be_misspelt(word)])
        word = words[place]
        while word in known or word == words[place]:
            word = words[place]
            for _ in range(1 + (len(word) >= 8)):
                word = _edited(word, random)
        text = " ".join([*words[:place], word, *words[place + 1 :]])
        yield Query("typos", text, frozenset([next(p.en for p in PRODUCTS if p.en.lower() == " ".join(words))]))


def _may_be_misspelt(word: str) -> bool:
    return len(word) > 3 and word.isascii() and word.isalpha()


def _edited(word: str, random: Random) -> str:
    at, letter = random.randrange(len(word)), random.choice(_LETTERS)
    match random.randrange(4):
        case 0:
            return word[:at] + letter + word[at:]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + letter + word[at + 1 :]
        case _:
            return word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
