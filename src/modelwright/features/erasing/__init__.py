"""Erasure of a subject: from what was asked, through every place, to the receipt."""
