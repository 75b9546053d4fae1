"""White cells in whole fields of a smear: found, outlined, judged, and cut out one by one."""
