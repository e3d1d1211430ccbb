"""The version of shoprank: images, bundles and the distribution all carry this one."""

VERSION = "0.1.0"
