"""Scale of an encoder's cosines: models differ in how near they put texts that mean the same.

The pairs are of everyday products and of no data set.
"""

import numpy as np

from components.shared.text.encoder import TextEncoder
from components.shared.text.scripts import is_cjk

PAIRS = (
    ("cordless drill", "Electric screwdriver, battery powered"), ("couch", "Three-seat fabric sofa, grey"),
    ("sneakers", "Men's running shoes size 10"), ("fridge", "Double door refrigerator 400 l"),
    ("nappies", "Baby diapers size 4"), ("raincoat for kids", "Children's waterproof jacket"),
    ("cell phone", "Smartphone 128 GB"), ("trash bags", "Rubbish sacks 50 l"), ("tomato sauce", "Ketchup bottle 500 g"),
    ("hair wash", "Shampoo for dry hair"), ("tea kettle", "Electric water boiler 1.7 l"),
    ("car tyre", "All season tire 205/55 R16"),
)  # fmt: skip
"""Queries, each with the text of an item that is what it asks for in other words."""
CHINESE_PAIRS = (
    ("沙发", "Three-seat fabric sofa, grey"), ("运动鞋", "Men's running shoes size 10"),
    ("冰箱", "Double door refrigerator 400 l"), ("手机", "Smartphone 128 GB"), ("洗发水", "Shampoo for dry hair"),
    ("bicycle", "儿童自行车"), ("umbrella", "自动折叠雨伞"), ("chocolate", "黑巧克力礼盒"),
    ("笔记本电脑", "超薄手提电脑 16GB"), ("牙膏", "薄荷味洁牙膏 120克"),
)  # fmt: skip
"""The same for encoders that read Chinese, most of them across languages."""
REFERENCE = 0.394
"""Mean centred cosine of the pairs with the encoder of the shipped relevance model (all-MiniLM-L6-v2)."""

_LEAST_RELATED = 0.05
"""Below it the encoder knows nothing of these texts, as one of a few words, and gets no factor."""


def cosine_scale(encoder: TextEncoder) -> float:
    """Factor that makes the centred cosines of an encoder as large as those of the shipped relevance model's.

    The cosine of each pair is centred by the query's mean over the items of that language, see shared/search/dense.py.
    """
    pairs = (*PAIRS, *CHINESE_PAIRS) if encoder.record.chinese else PAIRS
    texts = list(dict.fromkeys(text for _, text in pairs))
    items = encoder.items(texts)
    chinese = np.array([any(map(is_cjk, text)) for text in texts])
    found = []
    for query, text in pairs:
        vector = encoder.query(query)
        assert vector is not None
        at = texts.index(text)
        mean = float((items[chinese == chinese[at]] @ vector).mean())
        found.append((float(items[at] @ vector) - mean) / max(1 - mean, 1e-9))
    related = float(np.mean(found))
    return round(REFERENCE / related, 3) if related > _LEAST_RELATED else 1.0
