"""The web page in a real Chromium, with real voices and a published CAM++."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile
from browser import Browser, browsing
from service import TOKEN, Service, running

from vprtrain.conversion import convert
from vprtrain.data.audio import read_audio

pytestmark = pytest.mark.slow
RATE = 16000
MARIA, CARL = "librispeech-1737", "librispeech-1867"


@pytest.fixture(scope="module")
def voices(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """WAV files: two voices, one of them again, silence, and a talk of both."""
    folder = tmp_path_factory.mktemp("voices")
    pack = test_data / "dev_pack"
    rows = [*csv.DictReader((pack / "metadata.csv").open(encoding="utf-8"))]
    maria, carl = (
        [read_audio(pack / row["path"]) for row in rows if row["speaker"] == speaker]
        for speaker in (MARIA, CARL)
    )
    sounds = {
        **{f"maria{take}": recording for take, recording in enumerate(maria)},
        "carl": carl[0],
        "silence": np.zeros(3 * RATE, np.float32),
        "talk": np.concatenate([maria[2], maria[3], carl[2], carl[3]]),
    }
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    return {name: folder / f"{name}.wav" for name in sounds}


@pytest.fixture(scope="module")
def service(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    weights = test_data / "pretrained" / "campplus_cn_en_common.pt"
    if not weights.exists():
        pytest.skip(f"no published model at {weights}")
    folder = tmp_path_factory.mktemp("page")
    convert("3dspeaker", weights, folder / "model")
    tokens = folder / "tokens"
    tokens.write_text(TOKEN)
    options = ("--threshold=0.45", f"--token_file={tokens}")
    with running(folder / "model", folder / "people.db", *options) as started:
        yield started


def open_page(browser: Browser, service: Service, *, width: int = 1100) -> None:
    """The page with the token."""
    browser.size(width, 900)
    browser.driver.get(f"{service.url}/healthz")
    browser.driver.execute_script("sessionStorage.token = arguments[0]", TOKEN)
    browser.driver.get(f"{service.url}/")
    browser.text("#model", "CAMPPlus")


def give(browser: Browser, panel: str, *files: Path) -> None:
    """Choose the files of a panel's takes."""
    for field, file in zip(browser.all(f"#{panel} input[type=file]"), files, strict=True):
        field.send_keys(str(file))


def record(browser: Browser, take: str, seconds: float) -> None:
    """Record from the microphone."""
    browser.click(f"{take} .record")
    browser.until(lambda: float([*browser.find(f"{take} .about").text.split(), 0][0]) >= seconds)
    browser.click(f"{take} .record")
    browser.until(lambda: browser.find(f"{take} .play").is_enabled())


def remove_all(client: httpx.Client) -> None:
    """Remove every user."""
    for user in client.get("/v1/users").json()["users"]:
        client.delete(f"/v1/users/{quote(user, safe='')}").raise_for_status()


def heard(browser: Browser) -> set[str]:
    """The names of the voices of the last minute."""
    names = (
        "return [...document.querySelectorAll('#live .legend span')].map((each) => each.innerText)"
    )
    return set(browser.driver.execute_script(names))


def test_compare_enrol_recognise_export_and_delete(
    service: Service, voices: dict[str, Path], tmp_path: Path
) -> None:
    with browsing(voices["maria3"], tmp_path / "profile") as browser:
        open_page(browser, service)
        give(browser, "compare", voices["maria0"], voices["maria1"])
        browser.click("#compare [data-action]")
        assert browser.text("#compare .verdict strong") == "Same speaker"
        bar = browser.find("#compare .bar").get_attribute("aria-label")
        assert bar.startswith("Score 0.") and bar.endswith("threshold 0.45")
        browser.keep("compare")
        give(browser, "compare", voices["maria0"], voices["carl"])
        browser.click("#compare [data-action]")
        assert browser.text("#compare .verdict strong") == "Different speakers"

        browser.click("#tab-recognise")
        give(browser, "recognise", voices["maria0"])
        browser.click("#recognise [data-action]")
        assert "Nobody is enrolled yet" in browser.text("#recognise .verdict strong")
        browser.click("#recognise .verdict button")
        give(browser, "enrol", voices["maria0"], voices["maria1"], voices["maria2"])
        for take in (1, 2, 3):
            assert browser.text(f"#enrol .take:nth-child({take}) .said", "Good")
            about = browser.find(f"#enrol .take:nth-child({take}) .about").text
            assert "3.2 s" in about and "of speech" in about and "dBFS" in about
        action = browser.find("#enrol [data-action]")
        assert not action.is_enabled()
        assert "a name · a purpose · the speaker" in browser.find("#missing").text
        assert "for this purpose, until it is deleted" in browser.find(".consent").text
        browser.find("#name").send_keys("Maria / 王 <b>")
        browser.find("#purpose").send_keys("门 7 & more")
        browser.click("#consent")
        browser.keep("enrol")
        browser.click("#enrol [data-action]")
        assert "Maria / 王 <b> is enrolled with 3 recordings" in browser.text("#enrol .verdict")
        browser.click("#language")
        assert "Maria / 王 <b> 已注册" in browser.text("#enrol .verdict")
        browser.click("#language")
        assert browser.find("#purpose").get_attribute("value") == "门 7 & more"
        with service.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            stored = client.get("/v1/users/Maria %2F 王 <b>").json()["recordings"]
        assert [each["purpose"] for each in stored] == ["门 7 & more"] * 3

        browser.click("#enrol .verdict button")
        record(browser, "#recognise", 2.5)
        browser.click("#recognise [data-action]")
        assert browser.text("#recognise .verdict strong") == "Maria / 王 <b>"
        browser.keep("recognise")
        give(browser, "recognise", voices["carl"])
        browser.click("#recognise [data-action]")
        assert browser.text("#recognise .verdict strong") == "Unknown voice"

        browser.click("#tab-users")
        assert "Maria / 王 <b>\n3 recordings" in browser.text("#users .people")
        browser.keep("users")
        browser.click("#users .danger")
        assert "Delete Maria" in browser.text("#delete-dialog h2")
        browser.click("#delete-dialog button[value=no]")
        assert browser.all("#users .people li")
        browser.click("#users .danger")
        browser.click("#delete-dialog button[value=yes]")
        assert "was deleted" in browser.text("#users .verdict")
        assert not browser.all("#users .people li") and browser.find("#users .empty").is_displayed()
        assert browser.errors() == []


def test_live_recognition_shows_users_and_unknown_voices(
    service: Service, voices: dict[str, Path], tmp_path: Path
) -> None:
    with service.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        files = [("audio", voices[name].read_bytes()) for name in ("maria0", "maria1")]
        client.post("/v1/users/Maria", files=files).raise_for_status()
    with browsing(voices["talk"], tmp_path / "profile") as browser:
        open_page(browser, service)
        browser.click("#tab-live")
        browser.click("#live [type=checkbox]")  # unknown voices are not told apart
        browser.click("#live [data-action]")
        browser.text("#live .now", "Maria")
        assert browser.find("#live .stage").get_attribute("data-state") == "user"
        assert "Score 0." in browser.text("#live .now-score")
        browser.until(
            lambda: (
                browser.find("#live .stage").get_attribute("data-state") == "unknown"
                and {"Maria", "Unknown voice"}
                <= {each.text for each in browser.all("#live .legend span")}
            )
        )
        browser.keep("live")
        browser.click("#live [data-action]")
        browser.text("#live .now", "Not listening")
        assert browser.find("#live .result").text == "" and browser.errors() == []


def test_an_unknown_voice_is_numbered_and_named_while_it_is_heard(
    service: Service, voices: dict[str, Path], tmp_path: Path
) -> None:
    with service.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        remove_all(client)
    with browsing(voices["talk"], tmp_path / "profile") as browser:
        open_page(browser, service)
        browser.click("#tab-live")
        browser.click("#live [data-action]")
        browser.text("#live .now", "Speaker 1")
        assert browser.find("#live .stage").get_attribute("data-state") == "unknown"
        assert not browser.find("#live [type=checkbox]").is_enabled()
        browser.until(lambda: {"Speaker 1", "Speaker 2"} <= heard(browser))
        browser.until(lambda: len(browser.all("#live .legend button:not([hidden])")) == 2)
        browser.keep("live-numbers")
        browser.size(375, 900)
        browser.click("#theme")
        browser.click("#language")
        browser.until(lambda: {"说话人 1", "说话人 2"} <= heard(browser))
        browser.keep("live-numbers-375-dark-zh")
        assert browser.driver.execute_script("return document.documentElement.scrollWidth <= 375")
        browser.click("#language")
        browser.click("#theme")
        browser.size(1100, 900)

        browser.click("#live .legend button[aria-label='Name this voice: Speaker 1']")
        takes = [each for each in browser.all("#enrol .take") if each.is_displayed()]
        assert 1 <= len(takes) <= 3
        for take in range(1, len(takes) + 1):
            browser.text(f"#enrol .take:nth-child({take}) .said", "Good", "Usable")
        browser.find("#name").send_keys("Maria")
        browser.find("#purpose").clear()
        browser.find("#purpose").send_keys("meetings")
        assert not browser.find("#enrol [data-action]").is_enabled()  # without the consent
        browser.click("#consent")
        browser.keep("live-name")
        browser.click("#enrol [data-action]")
        assert "Maria is enrolled with" in browser.text("#enrol .verdict")

        browser.click("#tab-live")
        browser.text("#live .now", "Maria")
        assert heard(browser) >= {"Maria", "Speaker 2"} and "Speaker 1" not in heard(browser)
        names = [each.text for each in browser.all("#live .legend button:not([hidden])")]
        assert names == ["Name this voice"]
        browser.keep("live-named")
        browser.click("#live [data-action]")
        browser.text("#live .now", "Not listening")
        assert browser.find("#live .result").text == "" and browser.errors() == []
    with service.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        wrong = client.post("/v1/identify", content=voices["carl"].read_bytes()).json()
        right = client.post("/v1/identify", content=voices["maria0"].read_bytes()).json()
    assert (wrong["user"], right["user"]) == (None, "Maria")


def test_a_conversation_is_seen_heard_and_enrolled_from(
    service: Service, voices: dict[str, Path], tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    with service.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        remove_all(client)
        files = [("audio", voices[name].read_bytes()) for name in ("maria0", "maria1")]
        client.post("/v1/users/Maria", files=files).raise_for_status()
    with browsing(voices["silence"], tmp_path / "profile") as browser:
        open_page(browser, service)
        browser.click("#tab-conversation")
        give(browser, "conversation", voices["talk"])
        browser.click("#conversation [data-action]")
        assert "2 people speak in 0:1" in browser.text("#conversation .verdict", "people")
        rows = [each.text for each in browser.all("#conversation .speakers .who")]
        assert rows[0].startswith("Maria") and rows[1].startswith("Speaker 1")
        assert all("turn" in each and " s in " in each for each in rows)
        turns = browser.all("#conversation .turn")
        names = [each.get_attribute("aria-label") for each in turns]
        assert names[0].startswith("Maria, 0:0") and names[-1].startswith("Speaker 1, 0:")
        browser.keep("conversation")

        turns[0].click()
        browser.text("#conversation .hear", "Stop")
        browser.text("#conversation .hear", "Play")  # at the end of the turn
        turns[0].send_keys(Keys.END)
        assert browser.driver.switch_to.active_element == turns[-1]
        assert browser.find("#conversation .chosen p").text == names[-1]
        assert turns[-1].get_attribute("aria-pressed") == "true"
        turns[-1].send_keys(Keys.ENTER)
        browser.text("#conversation .hear", "Stop")

        browser.click("#conversation .enrol-turn")
        assert browser.find("#enrol").is_displayed()
        takes = [each for each in browser.all("#enrol .take") if each.is_displayed()]
        assert len(takes) == min(3, sum(name.startswith("Speaker 1") for name in names))
        for take in range(1, len(takes) + 1):
            browser.text(f"#enrol .take:nth-child({take}) .said", "Good", "Usable")
        browser.find("#name").send_keys("Carl")
        browser.find("#purpose").clear()
        browser.find("#purpose").send_keys("meetings")
        assert not browser.find("#enrol [data-action]").is_enabled()
        browser.click("#consent")
        browser.keep("conversation-enrol")
        browser.click("#enrol [data-action]")
        assert "Carl is enrolled with" in browser.text("#enrol .verdict")
        assert all(each.is_displayed() for each in browser.all("#enrol .take"))
        with service.client(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            (recording, *_) = client.get("/v1/users/Carl").json()["recordings"]
        assert recording["purpose"] == "meetings"

        browser.size(375, 900)
        browser.click("#theme")
        browser.click("#language")
        browser.click("#tab-conversation")
        browser.text("#conversation .verdict", "2 个人说话")
        assert browser.all("#conversation .who")[1].text.startswith("说话人 1")
        browser.click("#conversation [data-action]")
        names = (
            "return [...document.querySelectorAll('#conversation .who b')].map((b) => b.innerText)"
        )
        browser.until(lambda: browser.driver.execute_script(names) == ["Maria", "Carl"])
        browser.keep("conversation-375-dark-zh")
        assert browser.driver.execute_script("return document.documentElement.scrollWidth <= 375")
        assert browser.errors() == []


def test_conversations_of_nobody_of_too_few_and_in_an_unknown_format(
    service: Service, voices: dict[str, Path], test_data: Path, tmp_path: Path
) -> None:
    with browsing(voices["silence"], tmp_path / "profile") as browser:
        open_page(browser, service)
        browser.click("#tab-conversation")
        give(browser, "conversation", voices["silence"])
        browser.click("#conversation [data-action]")
        assert browser.text("#conversation .verdict strong") == "Nobody speaks in it"
        give(browser, "conversation", voices["maria0"])
        browser.until(lambda: not browser.all("#conversation .verdict"))  # it is decoded
        browser.find("#conversation [type=number]").send_keys("99")
        browser.click("#conversation [data-action]")
        assert "num_speakers is 99, but" in browser.text("#conversation .verdict", "99")
        assert not browser.find("#conversation .timeline").is_displayed()
        browser.find("#conversation [type=number]").clear()
        give(browser, "conversation", test_data / "bad_audio" / "voice.wma")
        browser.until(lambda: not browser.all("#conversation .verdict"))
        browser.click("#conversation [data-action]")
        assert "this browser cannot play" in browser.text("#conversation .chosen p", "cannot play")
        assert not browser.find("#conversation .hear").is_enabled()
        assert not browser.find("#conversation .enrol-turn").is_enabled()


def test_silence_is_refused_in_both_languages(
    service: Service, voices: dict[str, Path], tmp_path: Path
) -> None:
    with browsing(voices["silence"], tmp_path / "profile") as browser:
        open_page(browser, service, width=375)
        browser.click("#tab-enrol")
        record(browser, "#enrol .take:nth-child(1)", 1.0)
        refused = browser.text("#enrol .take:nth-child(1) .said", "Not usable")
        assert "silent in its first" in refused
        browser.click("#language")
        assert "前" in browser.text("#enrol .take:nth-child(1) .said", "不可用")
        assert browser.find("html").get_attribute("lang") == "zh-Hans"
        browser.click("#theme")
        browser.keep("enrol-375-dark-zh")
        example = browser.find("#purpose").get_attribute("placeholder")
        assert example.startswith("例如") and "为此用途" in browser.find(".consent").text
        wide = "return document.documentElement.scrollWidth <= 375"
        for tab in ("compare", "recognise", "live", "conversation", "enrol", "users"):
            browser.click(f"#tab-{tab}")
            assert browser.driver.execute_script(wide), tab


def test_a_wrong_token_is_asked_for_again(
    service: Service, voices: dict[str, Path], tmp_path: Path
) -> None:
    with browsing(voices["silence"], tmp_path / "profile") as browser:
        browser.size(1100, 900)
        browser.driver.get(f"{service.url}/")
        browser.until(lambda: browser.find("#token").is_displayed())
        browser.keep("token")
        browser.find("#token").send_keys("a wrong one\n")
        assert "not one of the service" in browser.text("#token-dialog .said")
        browser.find("#token").send_keys(f"{TOKEN}\n")
        browser.text("#model", "CAMPPlus")
        assert not browser.find("#token-dialog").is_displayed()


def test_the_keyboard_is_enough(service: Service, voices: dict[str, Path], tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    with browsing(voices["silence"], tmp_path / "profile") as browser:
        open_page(browser, service)
        browser.find("#tab-compare").send_keys(Keys.ARROW_RIGHT)
        assert browser.find("#recognise").is_displayed()
        assert browser.driver.switch_to.active_element.get_attribute("id") == "tab-recognise"
        browser.driver.switch_to.active_element.send_keys(Keys.END)
        assert browser.find("#users").is_displayed() and not browser.find("#compare").is_displayed()
        unnamed = browser.driver.execute_script(
            "return [...document.querySelectorAll('button, input, [role]')]"
            ".filter((each) => each.checkVisibility() && !each.computedName"
            " && !each.textContent.trim() && !each.ariaLabel && !each.labels?.length"
            " && !['status', 'alert'].includes(each.role)).map((each) => each.outerHTML)"
        )
        assert unnamed == []
