package importfile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// keys makes the keys of rows without one, from their content. The second of two equal rows gets another key than the first.
type keys struct {
	name string
	seen set
	more map[uint64]int // how many rows had a content, for content that came more than once
}

// of returns the key of a row with a content.
func (k *keys) of(kind string, content []byte) string {
	hash := sha256.New()
	hash.Write(content)
	hash.Write([]byte(k.name))
	sum := hash.Sum(nil)
	n, short := 1, binary.BigEndian.Uint64(sum)
	if !k.seen.add(short) {
		if k.more == nil {
			k.more = map[uint64]int{}
		}
		k.more[short]++
		n = k.more[short] + 1
	}
	return fmt.Sprintf("%s-%s-%d", kind, hex.EncodeToString(sum[:16]), n)
}

// set is a set of hashes. It needs 9 to 18 bytes for each, where a map needs some 40.
type set struct {
	slots []uint64 // a power of two of them; 0: free
	n     int      // that are taken
}

// place returns the slot of a hash, or the free one where it belongs.
func (s *set) place(hash uint64) *uint64 {
	for i := hash; ; i++ {
		if slot := &s.slots[i%uint64(len(s.slots))]; *slot == hash || *slot == 0 {
			return slot
		}
	}
}

// add adds a hash, and reports whether the set did not have it.
func (s *set) add(hash uint64) bool {
	hash = max(hash, 1)
	if s.n >= len(s.slots)*7/8 {
		old := s.slots
		s.slots = make([]uint64, max(2*len(old), 1024))
		for _, h := range old {
			if h != 0 {
				*s.place(h) = h
			}
		}
	}
	slot := s.place(hash)
	if *slot != 0 {
		return false
	}
	*slot = hash
	s.n++
	return true
}

// has reports whether the set has a hash.
func (s *set) has(hash uint64) bool { return s.n > 0 && *s.place(max(hash, 1)) != 0 }

// Distinct counts distinct texts. It keeps a hash of each.
type Distinct struct{ seen set }

// Add adds a text.
func (d *Distinct) Add(text string) {
	sum := sha256.Sum256([]byte(text))
	d.seen.add(binary.BigEndian.Uint64(sum[:]))
}

// Count returns how many distinct texts were added.
func (d *Distinct) Count() int { return d.seen.n }
