package message

import "hash/fnv"

// Rank returns the position of a worker among all workers that could serve an item, by rendezvous hashing: 0
// serves it, 1 is the next. All programs with the same list of workers get the same result, and a worker that
// joins or leaves moves only its own share. The worker need not be in workers.
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
	x := h.Sum64() // the low bits are weak: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
