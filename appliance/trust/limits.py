"""How much is read, at most, of anything that comes from a stick or lies open on a device."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

ROOT_BYTES = 256 * KIB
TIMESTAMP_BYTES = 16 * KIB
SNAPSHOT_BYTES = 256 * KIB
TARGETS_BYTES = 8 * MIB
ROOT_ROTATIONS = 64
KEY_FILE_BYTES = 64 * KIB
LEDGER_BYTES = 64 * KIB
PATH_DEPTH = 4  # folders below the stick that a name may have
NAME_CHARACTERS = 255
HASH_CHUNK_BYTES = 64 * MIB  # of a target, between two signed digests
PART_BYTES = (
    2 * 1024 * MIB
)  # of a file on a stick, a multiple of the chunk: FAT32 holds less than 4 GiB a file
JSON_DEPTH = 8  # objects and lists within each other, in what a device signs
ENTRY_BYTES = 16 * KIB  # of one line of an audit log
LOG_SEGMENT_BYTES = MIB  # of an audit log's file, before the next one is begun
LOG_SEGMENTS_KEPT = 8  # older files of it that stay though the workshop has acknowledged all of them
RECEIPT_HEAD_BYTES = KIB
STATEMENT_BYTES = 64 * KIB
RECEIPT_BYTES = 4 * MIB
RECEIPTS = 1024  # on one stick
FOLDER_NAMES = 8192  # looked at in a folder of receipts
ACKNOWLEDGMENT_BYTES = 2 * MIB
ACKNOWLEDGED_DEVICES = 10_000
DEVICE_FILE_BYTES = 4 * KIB
