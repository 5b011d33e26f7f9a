package ledger

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

//go:embed lua/lists.lua
var listsLua string

// listsMost is how many messages of each list of a shard CountLists reads.
const listsMost = 1000

// ListCounts are how many messages are in the lists that operators look at.
type ListCounts struct {
	InDoubt  int // in doubt
	Parked   int // they wait for an operator's decision
	Dead     int // dead letters
	Awaiting int // Meta took them and has not reported a status

	Partial bool // of all numbers only: a list of a shard has more messages than those that count for the numbers
}

// CountLists counts the messages in the lists of all shards, and those of each number. Of the messages that await a status it
// counts those that Meta took before a time. If a list of a shard has more than 1,000 messages, the first 1,000 count for
// the numbers. It needs one command for each shard.
func (l *Ledger) CountLists(ctx context.Context, before time.Time) (all ListCounts, byNumber map[string]ListCounts, err error) {
	lists := []message.List{message.ListInDoubt, message.ListParked, message.ListDead, message.ListAwaiting}
	var cmds []*redis.Cmd
	err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
		cmds = nil
		for _, s := range l.o.Shards.All() {
			keys := make([]string, len(lists))
			for i, list := range lists {
				keys[i] = listKey(s, list)
			}
			cmds = append(cmds, l.lists.Add(ctx, p, keys, listsMost, before.UnixMilli()))
		}
	})
	if err != nil {
		return all, nil, fmt.Errorf("count the lists of messages: %w", err)
	}
	byNumber = map[string]ListCounts{}
	for _, c := range cmds {
		replies, err := c.Slice()
		if err != nil || len(replies) != len(lists) {
			return all, nil, fmt.Errorf("count the lists of messages: %d replies: %w", len(replies), err)
		}
		for i, reply := range replies {
			values, _ := reply.([]any)
			if len(values) > 0 {
				all.Partial = all.add(i, values[0]) > listsMost || all.Partial
			}
			for k := 1; k+1 < len(values); k += 2 {
				number, _ := values[k].(string)
				one := byNumber[number]
				one.add(i, values[k+1])
				byNumber[number] = one
			}
		}
	}
	return all, byNumber, nil
}

// add adds a count to the i-th list, and returns it.
func (c *ListCounts) add(i int, value any) int {
	text, _ := value.(string)
	n, _ := strconv.Atoi(text)
	*[]*int{&c.InDoubt, &c.Parked, &c.Dead, &c.Awaiting}[i] += n
	return n
}

const (
	unfinishedPage = 5000
	unfinishedMost = 100_000
)

// CountUnfinished counts the messages that need a number: they wait for an attempt, for its outcome or for an operator, or are being
// moved. It counts among the first 100,000 messages of each list of the shard, and while these change the count is not exact.
func (l *Ledger) CountUnfinished(ctx context.Context, number string) (count int, err error) {
	s := l.o.Shards.Of(number)
	for _, list := range []message.List{message.ListWaiting, message.ListInDoubt, message.ListParked, message.ListMoving} {
		for from := int64(0); from < unfinishedMost; from += unfinishedPage {
			ids, err := l.db.ZRange(ctx, listKey(s, list), from, from+unfinishedPage-1).Result()
			if err != nil {
				return 0, fmt.Errorf("count the messages of phone number id %s that are not final: %w", number, err)
			}
			for _, id := range ids {
				if strings.HasPrefix(id, number+"-") {
					count++
				}
			}
			if len(ids) < unfinishedPage {
				break
			}
		}
	}
	return count, nil
}
