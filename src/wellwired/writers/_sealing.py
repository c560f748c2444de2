"""How the content of a dead letter lies in a file or a table: as it is, or encrypted."""

from __future__ import annotations

from wellwired.writers.dead_letters import Cipher

__all__ = ["opened", "sealed"]


def sealed(held: bytes, cipher: Cipher | None) -> tuple[str, str]:
    """How a letter's content is stored.

    Args:
        held: what `Letter.held` gave.
        cipher: encrypts it, or None.

    Returns:
        ``plain`` or ``sealed``, and the text.
    """
    return ("plain", held.decode()) if cipher is None else ("sealed", cipher.encrypt(held).decode("latin-1"))


def opened(how: str, text: str, cipher: Cipher | None) -> bytes:
    """A letter's content again.

    Args:
        how: what `sealed` gave.
        text: what `sealed` gave.
        cipher: decrypts it, or None.

    Raises:
        ValueError: it is encrypted, and the cipher is not there or not the right one; nothing of it is shown.
    """
    if how == "plain":
        return text.encode()
    if cipher is None:
        raise ValueError("it is encrypted, and no key was given")
    try:
        return cipher.decrypt(text.encode("latin-1"))
    except Exception as error:  # noqa: BLE001 - a cipher of the application's own may raise anything
        what = type(error).__name__
    raise ValueError(f"it cannot be decrypted with the key that was given ({what})")
