package message

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"hash/fnv"
	"strconv"
	"strings"
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// idLen is the length of an id's second part: 130 bits.
const idLen = 26

// idBytes is the number of random or hashed bytes of an id: whole groups of 5 give whole characters.
const idBytes = 20

// NewID returns the id of a message. With a key, the id follows from number and key, so a repeated request
// finds the same record without a second index. Without a key it is random.
func NewID(number, key string) string {
	var buffer [512]byte
	var sum [sha256.Size]byte
	if key == "" {
		rand.Read(sum[:idBytes]) // never fails: it ends the program instead
	} else {
		b := append(buffer[:0], number...)
		sum = sha256.Sum256(append(append(b, 0), key...))
	}
	b := append(append(buffer[:0], number...), '-')
	return string(base32Lower.AppendEncode(b, sum[:idBytes])[:len(b)+idLen])
}

// Number returns the phone number id in a message id, and whether id has the form of a message id.
func Number(id string) (string, bool) {
	number, rest, ok := strings.Cut(id, "-")
	if !ok || !IsNumberID(number) || len(rest) != idLen {
		return "", false
	}
	for i := range len(rest) {
		if c := rest[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return "", false
		}
	}
	return number, true
}

// IsNumberID reports whether s can be one of Meta's phone number ids: up to 32 digits. Redis keys, queue
// names and metric labels depend on it.
func IsNumberID(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// Shards is the number of shards of an installation. It is fixed at the first start.
type Shards int

// DefaultShards is the number of shards unless configured otherwise.
const DefaultShards Shards = 16

// Shard is a part of the keyspace that lies in one Cluster slot, so one script can change everything about
// a number in one step.
type Shard int

// Of returns the shard of a phone number id, or of a WABA id for data without a number.
func (s Shards) Of(number string) Shard {
	h := fnv.New32a()
	h.Write([]byte(number))
	return Shard(h.Sum32() % uint32(s))
}

// All returns every shard.
func (s Shards) All() []Shard {
	all := make([]Shard, s)
	for i := range all {
		all[i] = Shard(i)
	}
	return all
}

// String returns the name of the shard: "s07". The Redis keys of the shard have it as their hash tag.
func (s Shard) String() string {
	if s < 10 {
		return "s0" + strconv.Itoa(int(s))
	}
	return "s" + strconv.Itoa(int(s))
}
