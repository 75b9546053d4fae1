"""The verbs, one file each: from paths or objects to a result. The package re-exports them."""
