package store_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

// A change reads keys, decides in Go, and writes only if no key has changed since it was read.
func ExampleTransactions_Do() {
	ctx := context.Background()
	server, err := miniredis.Run() // a program calls store.Open with the URL of its Redis
	if err != nil {
		panic(err)
	}
	defer server.Close()
	db, err := store.New(ctx, redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true}))
	if err != nil {
		panic(err)
	}
	defer db.Close()

	key := store.Key(3, "names")
	add := func(name string) store.Change {
		return store.Change{Keys: []string{key}, Slot: key, Durable: true, Decide: func(values []string, w *store.Writes) error {
			if values[0] == "" {
				w.Set(key, []byte(name))
			} else {
				w.Set(key, []byte(values[0]+", "+name))
			}
			return nil
		}}
	}
	tx := db.Transactions(false)
	fmt.Println(tx.Do(ctx, 0, add("Ada")))
	fmt.Println(tx.DoAll(ctx, 0, []store.Change{add("Grace"), add("Barbara")}))
	fmt.Println(key, "=", db.Get(ctx, key).Val())
	// Output:
	// <nil>
	// [<nil> <nil>]
	// sluice:{s03}:names = Ada, Grace, Barbara
}
