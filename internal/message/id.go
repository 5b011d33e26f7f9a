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

// idBytes is how many bytes have that many characters: whole groups of 5.
const idBytes = 20

// NewID names a message. With a key the name follows from number and key, so that a repeat
// meets the same record without a second index; without one it is random.
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

// Number returns the phone number id in a message id, and whether id has the form of one.
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

// IsNumberID tells whether s can be one of Meta's phone number ids: up to 32 digits. Redis
// keys, queue names and metric labels rely on it.
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

// Shard is a part of the keyspace that lies in one Cluster slot, so that one script can
// change everything about a number in one step.
type Shard int

// Of returns the shard of a phone number id (or, for what has no number, of a WABA id).
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
