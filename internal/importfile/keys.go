package importfile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// contentKey makes the key of a row without one from its content and the name of the import. Equal rows have the same key, and are one
// message. Keys must not change between versions: a file may be imported again.
func contentKey(kind string, content []byte, name string) string {
	hash := sha256.New()
	hash.Write(content)
	hash.Write([]byte(name))
	return kind + "-" + hex.EncodeToString(hash.Sum(nil)[:16]) + "-1"
}

// Distinct counts distinct texts. It needs 9 to 18 bytes for each, where a map needs some 40.
type Distinct struct {
	slots []uint64 // a power of two of them, with hashes; 0: free
	n     int      // that are taken
}

// Add adds a text, and reports whether it was not added before.
func (d *Distinct) Add(text string) bool {
	sum := sha256.Sum256([]byte(text))
	hash := max(binary.BigEndian.Uint64(sum[:]), 1)
	if d.n >= len(d.slots)*7/8 {
		old := d.slots
		d.slots = make([]uint64, max(2*len(old), 1024))
		for _, h := range old {
			if h != 0 {
				*d.place(h) = h
			}
		}
	}
	slot := d.place(hash)
	if *slot != 0 {
		return false
	}
	*slot = hash
	d.n++
	return true
}

// place returns the slot of a hash, or the free one where it belongs.
func (d *Distinct) place(hash uint64) *uint64 {
	for i := hash; ; i++ {
		if slot := &d.slots[i%uint64(len(d.slots))]; *slot == hash || *slot == 0 {
			return slot
		}
	}
}

// Count returns how many distinct texts were added.
func (d *Distinct) Count() int { return d.n }
