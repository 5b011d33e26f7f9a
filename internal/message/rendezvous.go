package message

import "hash/fnv"

// Rank is worker's place among all that would serve what, by rendezvous hashing: 0 serves
// it, 1 stands by. Everybody who knows the same workers comes to the same result, and a
// worker that comes or goes moves only its own share. Worker need not be among workers.
func Rank(worker string, workers []string, what string) int {
	mine, better := score(worker, what), 0
	for _, w := range workers {
		if w != worker && score(w, what) > mine {
			better++
		}
	}
	return better
}

func score(worker, what string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(worker + "\x00" + what))
	x := h.Sum64() // its low bits are poor: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
