"""Other products that ours is measured against."""
