"""A module that a package would name in an entry point of the group ``blastscope``."""

from blastscope.registry import register_loss


@register_loss("from-a-plugin")
def loss(logits, targets):
    """Return the squared difference of each cell."""
    return (logits - targets) ** 2
