"""What two or more stages use, in packages by domain; imports neither kfp nor kserve."""
