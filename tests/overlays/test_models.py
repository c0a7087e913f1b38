"""What each overlay makes of each model's tree."""

import copy

import pytest

from device.config import Panel
from tests.overlays.merge import MergeError, Node, apply
from tests.overlays.sources import MODELS, OVERLAYS, model, overlay

DOWN, UP = 1, 2
SOUND = {
    "earshot-mems-amp": "i2s_clk_producer",
    "earshot-voicehat": "i2s_clk_producer",
    "earshot-respeaker-2mic-v2": "i2s_clk_consumer",
}
LABELS = ("gpio", "i2s", "i2s_clk_producer", "i2s_clk_consumer", "sound", "i2c1", "spi0", "spidev0")


def labelled(tree: Node, label: str) -> Node:
    return tree.at(tree.children["__symbols__"].strings(label)[0])


def switched_on(tree: Node) -> set[str]:
    """The labels of what is on."""
    return {label for label in LABELS if labelled(tree, label).properties.get("status") == b"okay\0"}


def pins(tree: Node, device: Node) -> dict[int, tuple[int, int]]:
    """Function and pull by pin of a device's default state."""
    assert device.strings("pinctrl-names") == ["default"]
    state = device.pointed(tree, "pinctrl-0")
    count = len(state.cells("brcm,pins"))
    both = (
        state.cells(name) * (count if len(state.cells(name)) == 1 else 1) for name in ("brcm,function", "brcm,pull")
    )
    return dict(zip(state.cells("brcm,pins"), zip(*both, strict=True), strict=True))


@pytest.mark.parametrize("on", MODELS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_it_fits_every_model(name: str, on: str) -> None:
    before = copy.deepcopy(model(on))
    assert apply(model(on), overlay(name)) != before
    assert model(on) == before


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_label_that_a_model_lacks_is_named(name: str) -> None:
    for label in overlay(name).children["__fixups__"].properties:
        bare = copy.deepcopy(model("pi4"))
        del bare.children["__symbols__"].properties[label]
        with pytest.raises(MergeError, match=label):
            apply(bare, overlay(name))


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_line_is_taken_from_gpiozero_but_the_amplifiers(name: str) -> None:
    tree = apply(model("pi5"), overlay(name))
    for node in tree.everything():
        for taking in (name for name in node.properties if name == "gpio-hog" or name.endswith(("gpios", "-gpio"))):
            assert taking == "sdmode-gpios"
        assert not {"gpio-keys", "gpio-leds"} & set(
            node.strings("compatible") if "compatible" in node.properties else ()
        )


@pytest.mark.parametrize("on", MODELS)
@pytest.mark.parametrize(("name", "role"), SOUND.items())
class TestASoundCard:
    def test_uses_the_block_with_the_right_clock_role_and_no_other(self, name: str, role: str, on: str) -> None:
        tree = apply(model(on), overlay(name))
        wanted = labelled(tree, role)
        card = labelled(tree, "sound")
        assert card.pointed(tree, "i2s-controller") is wanted
        others = [labelled(tree, label) for label in ("i2s_clk_producer", "i2s_clk_consumer")]
        assert [block.strings("status") == ["okay"] for block in others] == [block is wanted for block in others]

    def test_is_on(self, name: str, role: str, on: str) -> None:
        assert "sound" in switched_on(apply(model(on), overlay(name)))

    def test_sets_no_pin_of_the_i2s_wires(self, name: str, role: str, on: str) -> None:
        for node in overlay(name).everything():
            assert "brcm,pins" not in node.properties or not set(node.cells("brcm,pins")) & {18, 19, 20, 21}


@pytest.mark.parametrize("on", MODELS)
@pytest.mark.parametrize("name", ["earshot-mems-amp", "earshot-voicehat"])
class TestMicrophonesAndAmplifier:
    def test_are_driven_by_the_drivers_for_the_voice_hat(self, name: str, on: str) -> None:
        tree = apply(model(on), overlay(name))
        assert labelled(tree, "sound").strings("compatible") == ["googlevoicehat,googlevoicehat-soundcard"]
        # The card driver looks for a codec of this name.
        assert tree.children["voicehat-codec"].strings("compatible") == ["google,voicehat"]
        assert tree.children["voicehat-codec"].cells("#sound-dai-cells") == [0]

    def test_start_with_the_amplifier_off_and_its_line_with_the_driver(self, name: str, on: str) -> None:
        tree = apply(model(on), overlay(name))
        codec = tree.children["voicehat-codec"]
        assert codec.pointed(tree, "sdmode-gpios") is labelled(tree, "gpio")
        assert codec.cells("sdmode-gpios")[1:] == [16, 0]
        assert pins(tree, codec)[16] == (1, DOWN)

    def test_need_neither_i2c_nor_spi(self, name: str, on: str) -> None:
        assert not {"i2c1", "spi0"} & switched_on(apply(model(on), overlay(name)))


def test_the_voice_hat_has_its_button_pulled_up_and_its_light_pulled_down() -> None:
    tree = apply(model("pi5"), overlay("earshot-voicehat"))
    assert pins(tree, tree.children["voicehat-codec"]) == {16: (1, DOWN), 23: (0, UP), 25: (0, DOWN)}


@pytest.mark.parametrize("on", MODELS)
def test_the_voice_hat_twice_is_one_card(on: str) -> None:
    once = apply(model(on), overlay("earshot-voicehat"))
    twice = apply(once, overlay("earshot-voicehat"))
    assert twice.children.keys() == once.children.keys()
    assert pins(twice, twice.children["voicehat-codec"]) == pins(once, once.children["voicehat-codec"])


class TestTheRespeaker:
    @pytest.fixture(params=MODELS)
    def tree(self, request: pytest.FixtureRequest) -> Node:
        return apply(model(request.param), overlay("earshot-respeaker-2mic-v2"))

    def test_has_its_codec_on_i2c(self, tree: Node) -> None:
        codec = labelled(tree, "i2c1").children["tlv320aic3104@18"]
        assert codec.strings("compatible") == ["ti,tlv320aic3104"]
        assert codec.cells("reg") == [0x18]
        assert "i2c1" in switched_on(tree)

    def test_has_a_codec_that_makes_both_clocks_from_its_own_oscillator(self, tree: Node) -> None:
        card = labelled(tree, "sound")
        link = card.children["simple-audio-card,codec"]
        for clock in ("bitclock", "frame"):
            assert card.pointed(tree, f"simple-audio-card,{clock}-master") is link
        assert link.pointed(tree, "sound-dai") is labelled(tree, "i2c1").children["tlv320aic3104@18"]
        assert link.pointed(tree, "clocks").cells("clock-frequency") == [24_576_000]
        assert card.children["simple-audio-card,cpu"].pointed(tree, "sound-dai") is labelled(tree, "i2s_clk_consumer")

    def test_makes_the_card_by_whose_id_it_is_found(self, tree: Node) -> None:
        assert labelled(tree, "sound").strings("simple-audio-card,name") == ["seeed2micvoicec"]

    def test_has_its_lights_on_spi_and_its_button_pulled_up(self, tree: Node) -> None:
        assert "spi0" in switched_on(tree)
        assert pins(tree, labelled(tree, "i2c1").children["tlv320aic3104@18"]) == {17: (0, UP)}

    def test_routes_only_what_it_declares_or_the_codec_has(self, tree: Node) -> None:
        card = labelled(tree, "sound")
        routing = card.strings("simple-audio-card,routing")
        declared = set(card.strings("simple-audio-card,widgets")[1::2])
        codec = {"Mic Bias", "LINE1L", "LINE1R", "HPLOUT", "HPROUT", "LLOUT", "RLOUT"}
        assert len(routing) % 2 == 0
        assert set(routing) == declared | codec


@pytest.mark.parametrize("on", MODELS)
def test_the_panel_pulls_the_button_up_and_the_lights_down_and_switches_nothing_on(on: str) -> None:
    tree = apply(model(on), overlay("earshot-panel"))
    assert pins(tree, tree.children["earshot-button"]) == {17: (0, UP)}
    assert pins(tree, tree.children["earshot-lights"]) == {5: (0, DOWN), 6: (0, DOWN), 13: (0, DOWN)}
    assert switched_on(tree) == set()


@pytest.mark.parametrize("device", ["earshot-button", "earshot-lights"])
def test_the_panels_states_are_held_by_devices_that_a_driver_of_every_kernel_binds(device: str) -> None:
    held_by = apply(model("pi5"), overlay("earshot-panel")).children[device]
    assert held_by.strings("compatible") == ["regulator-fixed"]
    assert held_by.strings("regulator-name") == [device]
    assert held_by.cells("regulator-min-microvolt") == held_by.cells("regulator-max-microvolt")
    assert not [name for name in held_by.properties if "gpio" in name]


def test_the_panel_has_the_pins_of_the_settings() -> None:
    tree, settings = apply(model("pi4"), overlay("earshot-panel")), Panel()
    assert list(pins(tree, tree.children["earshot-button"])) == [settings.button]
    assert list(pins(tree, tree.children["earshot-lights"])) == list(settings.leds) == list(settings.rgb)


def test_the_pin_controller_does_not_hold_the_panels_states_so_that_it_starts_without_them() -> None:
    tree = apply(model("pi5"), overlay("earshot-panel"))
    assert "pinctrl-0" not in labelled(tree, "gpio").properties
