package chaos

import "slices"

// matrix is every row.
var matrix = slices.Concat(workerRows, redisRows, failoverRows, metaRows, answerRows, controlRows, killRows)
