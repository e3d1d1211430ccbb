"""Version of shoprank, used for images, bundles and the distribution."""

VERSION = "0.1.0"
