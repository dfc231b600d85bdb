"""The two ciphers of the User-based Security Model: AES in CFB128 mode (RFC 3826, 3.1.2) and DES in CBC mode (RFC 3414,
8.1.1). Imported only if a device encrypts, because the library takes megabytes. Pure."""

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

DES_BLOCK_BYTES = 8


def apply_aes(key: bytes, boots: int, time: int, salt: bytes, text: bytes, *, encrypt: bool) -> bytes:
    """Encrypt or decrypt by AES."""
    cipher = Cipher(AES(key), CFB(boots.to_bytes(4, "big") + time.to_bytes(4, "big") + salt))
    return (cipher.encryptor() if encrypt else cipher.decryptor()).update(text)


def apply_des(key: bytes, salt: bytes, text: bytes, *, encrypt: bool) -> bytes:
    """Encrypt or decrypt whole blocks by DES. The key's second half is the pre-IV."""
    key, pre_iv = key[:DES_BLOCK_BYTES], key[DES_BLOCK_BYTES:]
    cipher = Cipher(TripleDES(key * 3), CBC(bytes(one ^ other for one, other in zip(pre_iv, salt, strict=True))))
    return (cipher.encryptor() if encrypt else cipher.decryptor()).update(text)
