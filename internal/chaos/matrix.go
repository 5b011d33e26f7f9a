package chaos

import (
	"cmp"
	"fmt"
	"slices"
)

// matrix is every row, in the order of their numbers; controls and rows for long runs follow.
var matrix = slices.Concat(
	slices.SortedStableFunc(
		slices.Values(slices.Concat(
			workerRows, redisRows, failoverRows, metaRows, answerRows,
			durableRows,
			clockRows,
			gateRows,
			portalRows,
			reportRows,
			keyRows,
			holdRows,
		)),
		func(a, b row) int { return cmp.Compare(a.number(), b.number()) },
	),
	controlRows, killRows,
)

// number is that of C1, C2 and so on.
func (r row) number() (n int) {
	fmt.Sscanf(r.id, "C%d", &n)
	return n
}
