"""Queries of the made catalog in scripts other than Latin, and in two at once; see made_queries_in_english."""

BY_SCRIPT = {
    "Chinese words": """
        手机壳 => phone case
        黑色手机壳 => phone case, black
        无线键盘 => keyboard, wireless
        机械键盘 => keyboard, mechanical
        香草冰淇淋 => ice cream, vanilla
        冰淇淋 巧克力 => ice cream, chocolate
        男士跑步鞋 => running shoes, men's
        跑步鞋男士 => running shoes, men's
        咖啡豆 意式 => coffee beans, espresso
        特级初榨橄榄油 => olive oil, extra virgin
        橄榄油500毫升 => olive oil, 500ml
        茉莉香米5公斤 => jasmine rice, 5000g
        三文鱼猫粮 => cat food, salmon
        美白牙膏 => toothpaste, whitening
        电动牙刷 => toothbrush, electric
        曲面显示器27英寸 => monitor, curved, 27in
        显示器 27寸 => monitor, 27in
        降噪耳机 => headphones, noise cancelling
        红色连衣裙 => dress, red
        保温水壶 => water bottle, insulated
        儿童冲锋衣 => rain jacket, kids'
        纸尿裤72片 => diapers, 72ct
        厨房纸巾12包 => paper towels, 12ct
        充电宝10000毫安 => power bank, 10000mah
        蒙牛酸奶 => yogurt, 蒙牛
        小米充电宝 => power bank, 小米 Xiaomi
        花生酱 颗粒 => peanut butter, crunchy
        瑜珈垫 => yoga mat
        牙刷软毛的 => toothbrush, soft
        铸铁平底锅28厘米 => frying pan, cast iron, 280mm
    """,
    "Chinese and Latin": """
        iphone15手机壳 => phone case, iPhone 15
        iPhone 15 手机壳 黑色 => phone case, iPhone 15, black
        iphone15pro手机壳 => phone case, iPhone 15 Pro
        三星s24钢化膜 => screen protector, Galaxy S24
        usb-c数据线 => USB-C cable
        USBC数据线 2米 => USB-C cable, 2000mm
        typec sony耳机 => headphones, Sony
        sony头戴式耳机 => headphones, Sony
        nike跑步鞋 => running shoes, Nike
        女士T恤 => T-shirt, women's
        t恤 白色 => T-shirt, white
        4K显示器 => monitor, 4K
        2TB移动硬盘 => hard drive, 2000gb
        移动硬盘 2t => hard drive, 2000gb
        LED灯泡 9w => LED light bulb, 9w
        华为gps智能手表 => smartwatch, GPS, 华为 HUAWEI
        防晒霜spf50 => sunscreen, spf 50
        oatly燕麦奶1L => oat milk, Oatly, 1000ml
        wireless 键盘 => keyboard, wireless
        black 双肩包 => backpack, black
    """,
    "full width": """
        ｉｐｈｏｎｅ１５　手机壳 => phone case, iPhone 15
        ＵＳＢ－Ｃ　数据线 => USB-C cable
        ＳＯＮＹ　ｈｅａｄｐｈｏｎｅｓ => headphones, Sony
        橄榄油　５００ｍｌ => olive oil, 500ml
        ２ＴＢ　移动硬盘 => hard drive, 2000gb
        ｗｉ－ｆｉ　ｒｏｕｔｅｒ => Wi-Fi router
        Ｔ恤　黑色 => T-shirt, black
        ｉｃｅ　ｃｒｅａｍ　１Ｌ => ice cream, 1000ml
        ４Ｋ显示器 => monitor, 4K
        手机壳　１００元以下 => phone case, <100
    """,
    "other scripts": """
        ワイヤレスイヤホン => ワイヤレスイヤホン
        ﾜｲﾔﾚｽ ｲﾔﾎﾝ => ワイヤレスイヤホン
        緑茶 有機 => 緑茶
        チョコレート => チョコレート
        水筒 500ml => 水筒
        子供 靴 => 運動靴
        김치 1kg => 김치
        운동화 남성 => 운동화
        매운라면 => 라면
        무선이어폰 => 무선 이어폰
        น้ำปลา => น้ำปลา
        เสื้อยืด สีดำ => เสื้อยืด
        ข้าวหอมมะลิ 5 กก => ข้าวหอมมะลิ
        เคส iphone15 => เคสโทรศัพท์
        बासमती चावल => चावल
        जूता => जूते
        चाय 500 ग्राम => चाय
        किताबें => किताब
        मोबाइल कवर => मोबाइल कवर
        ワイヤレス イヤホン => ワイヤレスイヤホン
        水筒　５００ｍｌ => 水筒
        チョコ => チョコレート
        녹차티백 => 녹차
        김치를 => 김치
        แชมพู สมุนไพร => แชมพู
        เสื้อยืดผู้ชาย => เสื้อยืด
        น้ำปลา 700 มล => น้ำปลา
        चावल 5 किलो => चावल
    """,
}
"""Lines by kind."""
