"""Products of the made catalog: names in English and Chinese, what they come in, and what they may be free of."""

from dataclasses import dataclass

_FOOD = ("Ben & Jerry's", "Oatly", "Dr. Oetker", "Nature Valley", "Green Giant", "蒙牛", "三只松鼠", "农夫山泉")
_CARE = ("L'Oréal", "Head & Shoulders", "Dove", "Colgate", "Method", "云南白药", "舒肤佳")
_TECH = ("Sony", "Anker", "Logitech", "Samsung", "JBL", "Western Digital", "小米 Xiaomi", "华为 HUAWEI")
_WEAR = ("Nike", "Adidas", "H&M", "The North Face", "Levi's", "优衣库 UNIQLO", "李宁 Li-Ning")
_HOME = ("Tefal", "IKEA", "Le Creuset", "OXO", "Philips", "苏泊尔 Supor", "美的 Midea")
_PEOPLE = "men's=男士 women's=女士 kids'=儿童"
_PHONES = "iPhone 15=iPhone15|iPhone 15 Pro=iPhone15 Pro|Galaxy S24=三星S24|Pixel 8=Pixel 8"
COLOURS = {"black": "黑色", "white": "白色", "red": "红色", "blue": "蓝色", "green": "绿色", "grey": "灰色"}
INGREDIENTS = {"sugar": "糖", "gluten": "麸质", "silicone": "硅油", "fragrance": "香精", "grain": "谷物"}
"""What an item contains or is free of."""


@dataclass(frozen=True)
class Product:
    """What items of a kind have in common.

    Attributes:
        en, zh: Its name.
        path, path_zh: Its categories.
        brands: Who makes it.
        variants: (English, Chinese) tastes and styles.
        sizes: In base units: '500ml'.
        price: Lowest and highest.
        coloured: Whether it comes in colours.
        free_of: Ingredient that half of the items contain and the others are free of.
    """

    en: str
    zh: str
    path: tuple[str, ...]
    path_zh: tuple[str, ...]
    brands: tuple[str, ...]
    variants: tuple[tuple[str, str], ...]
    sizes: tuple[str, ...]
    price: tuple[float, float]
    coloured: bool
    free_of: str


_DEPARTMENTS = {
    "food": ("Food", "食品", _FOOD, (2, 20), False), "care": ("Personal Care", "个人护理", _CARE, (3, 25), False),
    "tech": ("Electronics", "电子产品", _TECH, (10, 300), True), "wear": ("Clothing", "服装", _WEAR, (10, 150), True),
    "home": ("Home & Kitchen", "家居厨房", _HOME, (8, 200), True),
}  # fmt: skip


def _product(
    department: str, names: str, group: str, variants: str = "", sizes: str = "", free_of: str = ""
) -> Product:
    top, top_zh, brands, price, coloured = _DEPARTMENTS[department]
    (en, zh), (path, path_zh) = names.split("="), group.split("=")
    parts = variants.split("|" if "|" in variants else None)
    pairs = tuple((one, two) for one, two in (part.replace("_", " ").split("=") for part in parts))
    return Product(en, zh, (top, path), (top_zh, path_zh), brands, pairs or (("", ""),), tuple(sizes.split()) or ("",),
                   price, coloured, free_of)  # fmt: skip


PRODUCTS = (
    _product("food", "ground coffee=咖啡粉", "Coffee & Tea=咖啡茶饮",
             "dark_roast=深度烘焙 medium_roast=中度烘焙 decaf=低因", "250g 500g 1000g"),
    _product("food", "coffee beans=咖啡豆", "Coffee & Tea=咖啡茶饮",
             "dark_roast=深度烘焙 espresso=意式 decaf=低因", "250g 500g 1000g"),
    _product("food", "green tea=绿茶", "Coffee & Tea=咖啡茶饮",
             "jasmine=茉莉 lemon=柠檬 organic=有机", "20ct 50ct 100ct"),
    _product("food", "chewing gum=口香糖", "Candy=糖果",
             "spearmint=薄荷 strawberry=草莓 watermelon=西瓜", "10ct 12ct 50ct", "sugar"),
    _product("food", "ice cream=冰淇淋", "Frozen=冷冻食品",
             "vanilla=香草 chocolate=巧克力 strawberry=草莓 mango=芒果", "500ml 1000ml"),
    _product("food", "oat milk=燕麦奶", "Dairy=乳品",
             "original=原味 vanilla=香草 barista=咖啡大师", "250ml 1000ml", "sugar"),
    _product("food", "yogurt=酸奶", "Dairy=乳品", "blueberry=蓝莓 strawberry=草莓 plain=原味", "150g 500g", "sugar"),
    _product("food", "sparkling water=气泡水", "Drinks=饮料",
             "lemon=柠檬 lime=青柠 grapefruit=西柚", "330ml 500ml 1500ml"),
    _product("food", "orange juice=橙汁", "Drinks=饮料", "with_pulp=果粒 cold_pressed=冷榨", "250ml 1000ml 1500ml"),
    _product("food", "peanut butter=花生酱", "Spreads=酱料", "crunchy=颗粒 smooth=幼滑", "350g 500g 1000g", "sugar"),
    _product("food", "dark chocolate=黑巧克力", "Candy=糖果",
             "hazelnut=榛子 almond=杏仁 orange=香橙 sea_salt=海盐", "100g 200g"),
    _product("food", "cookies=饼干", "Bakery=烘焙", "oatmeal=燕麦 ginger=姜味 butter=黄油", "200g 400g", "gluten"),
    _product("food", "jasmine rice=茉莉香米", "Pantry=粮油", "white=白米 brown=糙米", "1000g 5000g 10000g"),
    _product("food", "olive oil=橄榄油", "Pantry=粮油",
             "extra_virgin=特级初榨 refined=精炼", "250ml 500ml 750ml 1000ml"),
    _product("food", "soy sauce=酱油", "Pantry=粮油", "light=生抽 dark=老抽", "150ml 500ml"),
    _product("food", "spaghetti=意大利面", "Pantry=粮油", "whole_wheat=全麦 classic=经典", "8oz 16oz 32oz"),
    _product("food", "cat food=猫粮", "Pets=宠物", "salmon=三文鱼 chicken=鸡肉 tuna=金枪鱼", "1500g 5000g", "grain"),
    _product("food", "dog food=狗粮", "Pets=宠物", "beef=牛肉 chicken=鸡肉 lamb=羊肉", "2000g 10000g", "grain"),
    _product("care", "shampoo=洗发水", "Hair=护发",
             "anti-dandruff=去屑 moisturizing=滋润 volume=丰盈", "250ml 400ml 750ml", "silicone"),
    _product("care", "toothpaste=牙膏", "Oral Care=口腔护理", "whitening=美白 sensitive=抗敏 mint=薄荷", "75ml 100ml"),
    _product("care", "toothbrush=牙刷", "Oral Care=口腔护理", "soft=软毛 electric=电动", "2ct 4ct 6ct"),
    _product("care", "sunscreen=防晒霜", "Skin=护肤",
             "spf_30=SPF30 spf_50=SPF50", "50ml 100ml 200ml", "fragrance"),
    _product("care", "hand soap=洗手液", "Skin=护肤", "lavender=薰衣草 aloe=芦荟", "250ml 500ml", "fragrance"),
    _product("care", "laundry detergent=洗衣液", "Cleaning=清洁",
             "color=护色 sport=运动", "1000ml 2000ml 3000ml", "fragrance"),
    _product("care", "dishwasher tablets=洗碗块", "Cleaning=清洁", "lemon=柠檬 classic=经典", "30ct 60ct"),
    _product("care", "paper towels=厨房纸巾", "Cleaning=清洁", "recycled=再生 extra_thick=加厚", "6ct 12ct"),
    _product("care", "diapers=纸尿裤", "Baby=母婴", "newborn=新生儿 overnight=夜用", "36ct 72ct"),
    _product("tech", "phone case=手机壳", "Phone Accessories=手机配件", _PHONES),
    _product("tech", "screen protector=钢化膜", "Phone Accessories=手机配件", _PHONES, "2ct 3ct"),
    _product("tech", "USB-C cable=USB-C数据线", "Cables=线材",
             "braided=编织 fast_charging=快充", "1000mm 2000mm 3000mm"),
    _product("tech", "headphones=头戴式耳机", "Audio=音频", "wireless=无线 wired=有线 noise_cancelling=降噪"),
    _product("tech", "earbuds=蓝牙耳机", "Audio=音频", "sport=运动 waterproof=防水"),
    _product("tech", "keyboard=键盘", "Computer Accessories=电脑配件", "mechanical=机械 wireless=无线 compact=紧凑型"),
    _product("tech", "mouse=鼠标", "Computer Accessories=电脑配件", "wireless=无线 gaming=游戏 ergonomic=人体工学"),
    _product("tech", "monitor=显示器", "Computers=电脑", "curved=曲面 gaming=游戏 4K=4K", "24in 27in 31.5in"),
    _product("tech", "laptop=笔记本电脑", "Computers=电脑", "business=商务 gaming=游戏", "13.3in 14in 15.6in"),
    _product("tech", "hard drive=移动硬盘", "Storage=存储", "portable=便携 rugged=三防", "500gb 1000gb 2000gb 4000gb"),
    _product("tech", "memory card=存储卡", "Storage=存储", "micro_SD=MicroSD high_speed=高速", "64gb 128gb 256gb"),
    _product("tech", "power bank=充电宝", "Phone Accessories=手机配件",
             "fast_charging=快充 slim=超薄", "5000mah 10000mah 20000mah"),
    _product("tech", "smartwatch=智能手表", "Wearables=穿戴设备", "GPS=GPS fitness=健身"),
    _product("tech", "Wi-Fi router=无线路由器", "Networking=网络", "dual-band=双频 mesh=分布式"),
    _product("wear", "T-shirt=T恤", "Tops=上装", _PEOPLE),
    _product("wear", "dress=连衣裙", "Dresses=裙装", "summer=夏季 evening=晚礼服"),
    _product("wear", "rain jacket=冲锋衣", "Outerwear=外套", _PEOPLE),
    _product("wear", "running shoes=跑步鞋", "Shoes=鞋", _PEOPLE),
    _product("wear", "backpack=双肩包", "Bags=包", "school=学生 hiking=徒步 laptop=电脑", "20000ml 30000ml"),
    _product("wear", "socks=袜子", "Underwear=内衣", "wool=羊毛 cotton=纯棉", "3ct 6ct"),
    _product("home", "frying pan=平底锅", "Cookware=锅具", "non-stick=不粘 cast_iron=铸铁", "240mm 280mm 320mm"),
    _product("home", "water bottle=水壶", "Drinkware=杯壶", "insulated=保温 glass=玻璃", "500ml 750ml 1000ml"),
    _product("home", "kitchen knife=菜刀", "Cookware=锅具", "chef's=主厨 bread=面包"),
    _product("home", "air fryer=空气炸锅", "Appliances=电器", "digital=数显 compact=紧凑型", "4000ml 6000ml"),
    _product("home", "blanket=毛毯", "Bedding=床品", "fleece=法兰绒 weighted=重力"),
    _product("home", "LED light bulb=LED灯泡", "Lighting=照明", "warm_white=暖白 daylight=日光", "5w 9w 15w"),
    _product("home", "yoga mat=瑜伽垫", "Fitness=健身", "thick=加厚 travel=便携"),
)  # fmt: skip
OTHERS = (
    ("ja", "ワイヤレスイヤホン", "ノイズキャンセリング ワイヤレスイヤホン 黒"),
    ("ja", "緑茶", "有機 緑茶 ティーバッグ 50袋"),
    ("ja", "チョコレート", "ミルクチョコレート 大袋"),
    ("ja", "水筒", "ステンレス 水筒 500ml"),
    ("ja", "運動靴", "子供用 運動靴 白"),
    ("ko", "김치", "전통 포기김치 1kg"), ("ko", "운동화", "남성용 러닝 운동화 검정"), ("ko", "라면", "매운 라면 5개입"),
    ("ko", "무선 이어폰", "블루투스 무선 이어폰 화이트"), ("ko", "녹차", "유기농 녹차 티백 50개"),
    ("th", "น้ำปลา", "น้ำปลาแท้ ตราปลาหมึก 700 มล."),
    ("th", "เสื้อยืด", "เสื้อยืดผู้ชายสีดำ"),
    ("th", "ข้าวหอมมะลิ", "ข้าวหอมมะลิใหม่ 5 กก."),
    ("th", "เคสโทรศัพท์", "เคสโทรศัพท์iPhone15ใส"), ("th", "แชมพู", "แชมพูสมุนไพรขจัดรังแค"),
    ("hi", "चावल", "बासमती चावल 5 किलो"),
    ("hi", "जूते", "पुरुषों के दौड़ने के जूते"),
    ("hi", "चाय", "असम चाय पत्ती 500 ग्राम"),
    ("hi", "किताब", "बच्चों की कहानी की किताब"),
    ("hi", "मोबाइल कवर", "सैमसंग मोबाइल कवर काला"),
)  # fmt: skip
"""Items of other scripts: language, name, title."""
