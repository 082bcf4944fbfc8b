package thumbnail

import (
	"encoding/binary"
)

// orientationTag is the EXIF tag that says how a camera was held.
const orientationTag = 0x0112

// maxExif bounds the EXIF data that is read, in bytes. JPEG allows no more.
const maxExif = 64 << 10

// exifOrientation reads the orientation (1 to 8) from EXIF data, which is a TIFF
// file. It returns 1, as stored, for data it doesn't understand.
func exifOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 1
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 1
		}
		// Tag, type (3 is a 16-bit number), count, value.
		if order.Uint16(entries) == orientationTag {
			v := order.Uint16(entries[8:])
			if order.Uint16(entries[2:]) != 3 || v < 1 || v > 8 {
				return 1
			}
			return int(v)
		}
		entries = entries[12:]
	}
	return 1
}
