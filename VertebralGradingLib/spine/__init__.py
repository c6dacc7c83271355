"""Names and order of levels, centroids, the curve through them, frames, patches and blocks."""
