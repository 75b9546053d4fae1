"""Networks: the paper's own trunk or any of timm's, a head, and what of them is trained."""
