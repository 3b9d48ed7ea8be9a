"""One module per technology behind the ports of ``modelwright.storage`` and of the capabilities."""
