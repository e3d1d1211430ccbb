"""Stage: a blessed and proven version becomes the champion."""
