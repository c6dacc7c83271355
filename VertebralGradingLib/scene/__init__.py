"""The border to Slicer's scene: nodes become what the package works on, findings become nodes. No Qt here."""
