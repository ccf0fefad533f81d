"""Compiled readers of what is known already: messages of the common form, of series that a decoder has met.

They find values, times and the raw bytes of names and labels, and look the series up by those bytes; labels are
decoded only when they are new. Whatever is unusual (a series not met before, fields out of order, what a limit may
refuse) is left to the decoder of the format, which remains the judge: property tests hold both to the same answer.
"""
