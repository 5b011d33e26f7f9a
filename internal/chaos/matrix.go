package chaos

import "slices"

// matrix is every row, in the order of the page.
var matrix = slices.Concat(workerRows, redisRows, metaRows)
