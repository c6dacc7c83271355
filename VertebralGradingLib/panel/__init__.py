"""Parts of the Slicer module that need Qt, in Slicer's style; only the module's own file uses them."""
