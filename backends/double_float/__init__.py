"""Double-float evaluation of elementary functions, for processors that are slow at f64.

It decides no bit: a result is taken from here only where it is proven to be that of the definition
in ``ir/elementary``; elsewhere the definition is evaluated.
"""
