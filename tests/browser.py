"""Chromium without a window, whose microphone plays a file."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from json_process import PATIENCE

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

SCREENSHOTS = "VPRTRAIN_SCREENSHOTS"
"""The folder where screenshots are kept; in the environment."""

_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    *("--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"),
)


class Browser:
    """A page in Chromium, found and used by selectors of CSS."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        """Wait until the element can be clicked, and click."""
        self.until(lambda: self.find(selector).is_displayed() and self.find(selector).is_enabled())
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def until(self, condition) -> None:
        """Wait until a condition holds."""
        WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: condition())

    def text(self, selector: str, *parts: str) -> str:
        """The text of an element, as soon as it has some, or one of the parts."""
        self.until(
            lambda: (
                any(part in self.find(selector).text for part in parts)
                if parts
                else self.find(selector).text.strip()
            )
        )
        return self.find(selector).text

    def size(self, width: int, height: int) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def errors(self) -> list[str]:
        """What the console has of errors, of the Content-Security-Policy too; 4xx are not."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]
        ]

    def keep(self, name: str) -> None:
        """A picture of the whole page in the folder of :data:`SCREENSHOTS`, if there is one."""
        if SCREENSHOTS in os.environ:
            found = self.driver.execute_cdp_cmd(
                "Page.captureScreenshot", {"captureBeyondViewport": True}
            )
            folder = Path(os.environ[SCREENSHOTS])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browsing(microphone: Path, profile: Path, *, language: str = "en") -> Iterator[Browser]:
    """A browser of its own; the test is skipped without Chromium.

    Args:
        microphone: the WAV file that it hears, from its beginning again and again.
        profile: a new folder.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("no Chromium: install Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (
        *_OPTIONS,
        f"--use-file-for-fake-audio-capture={microphone}",
        f"--user-data-dir={profile}",
        f"--lang={language}",
        f"--accept-lang={language}",
    ):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
