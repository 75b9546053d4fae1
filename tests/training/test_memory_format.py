import pytest
import torch

from blastscope.models.classifier import build_model, choose_layout
from blastscope.recipes.library import load_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("recipe", "settings", "layout"),
    [
        ("paper/cnn-exp2", [], torch.contiguous_format),
        ("paper/vgg16-e13", [], torch.contiguous_format),
        ("paper/vgg16-e7", [], torch.channels_last),  # frozen: nothing goes backward
        ("paper/mobilenetv2-e7", [], torch.channels_last),
        ("paper/resnet50-cut-ft10", [], torch.channels_last),
        ("demo/cnn-small", [], torch.channels_last),
    ],
)
def test_plain_convolutions_alone_are_trained_by_channel(recipe, settings, layout):
    classifier = build_model(load_recipe(recipe, ["model.weights=none"]), pretrained=False)
    assert choose_layout(classifier, CPU) == layout
    assert choose_layout(classifier, torch.device("cuda")) == torch.channels_last


def test_a_network_says_the_same_in_either_layout():
    torch.manual_seed(0)
    recipe = load_recipe("paper/cnn-exp2", ["input.size=96"])
    classifier = build_model(recipe, pretrained=False).eval()
    images = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    with torch.inference_mode():
        by_channel = classifier(images.contiguous())
        classifier.to(memory_format=torch.channels_last)
        by_pixel = classifier(images)
    torch.testing.assert_close(by_channel, by_pixel, rtol=1e-4, atol=1e-5)
