package chaos

import (
	"cmp"
	"fmt"
	"slices"
)

// matrix has every row, in the order of their numbers. Controls and rows for long runs follow.
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
			relayRows,
			upgradeRows,
		)),
		func(a, b row) int { return cmp.Compare(a.number(), b.number()) },
	),
	controlRows, []row{relayControl}, killRows,
)

// number returns the number in an id such as C1.
func (r row) number() (n int) {
	fmt.Sscanf(r.id, "C%d", &n)
	return n
}
