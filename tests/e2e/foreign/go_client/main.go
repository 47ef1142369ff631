// What a program with the official Go client sees: prints one line for each thing it learns. Arguments: the port; and of
// a guarded cluster the files of the CA, the certificate and its key, a user and a password.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sort"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

var ctx = context.Background()
var begin int64 // the revision of the first put

func check(err error) {
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

func main() {
	config := clientv3.Config{Endpoints: []string{"127.0.0.1:" + os.Args[1]}, DialTimeout: 5 * time.Second}
	if len(os.Args) > 2 {
		guard(&config, os.Args[2:])
	}
	c, err := clientv3.New(config)
	check(err)
	defer c.Close()
	keys(c)
	transactions(c)
	leases(c)
	watches(c)
	locks(c)
	cluster(c)
}

func guard(config *clientv3.Config, args []string) {
	ca, err := os.ReadFile(args[0])
	check(err)
	pair, err := tls.LoadX509KeyPair(args[1], args[2])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	config.TLS = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	config.Username, config.Password = args[3], args[4]
}

func keys(c *clientv3.Client) {
	p, err := c.Put(ctx, "a", "1")
	check(err)
	begin = p.Header.Revision
	fmt.Println("put", begin)
	p, err = c.Put(ctx, "a", "2", clientv3.WithPrevKV())
	check(err)
	fmt.Println("previous", string(p.PrevKv.Value))
	for n := 0; n < 5; n++ {
		_, err = c.Put(ctx, fmt.Sprintf("dir/%d", n), fmt.Sprint(9-n))
		check(err)
	}
	for _, o := range [][]clientv3.OpOption{
		{}, {clientv3.WithSerializable()}, {clientv3.WithRev(begin)}, {clientv3.WithPrefix()}, {clientv3.WithFromKey(), clientv3.WithLimit(3)},
		{clientv3.WithPrefix(), clientv3.WithKeysOnly()}, {clientv3.WithPrefix(), clientv3.WithCountOnly()},
		{clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend), clientv3.WithLimit(2)},
		clientv3.WithFirstCreate(), clientv3.WithLastRev(), clientv3.WithLastKey(), {clientv3.WithPrefix(), clientv3.WithMinModRev(begin + 2)},
	} {
		g, err := c.Get(ctx, "dir/1", o...)
		check(err)
		fmt.Println("get", g.Count, g.More, g.Kvs)
		g, err = c.Get(ctx, "dir/", o...)
		check(err)
		fmt.Println("get", g.Count, g.More, g.Kvs)
	}
	d, err := c.Delete(ctx, "dir/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	check(err)
	fmt.Println("delete", d.Deleted, d.PrevKvs)
	_, err = c.Put(ctx, "", "x")
	fmt.Println("empty key", err)
	_, err = c.Get(ctx, "a", clientv3.WithRev(10000))
	fmt.Println("future", err)
	_, err = c.Put(ctx, "missing", "", clientv3.WithIgnoreValue())
	fmt.Println("ignore value", err)
}

func transactions(c *clientv3.Client) {
	_, err := c.Put(ctx, "t", "x")
	check(err)
	for n := 0; n < 2; n++ {
		t, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Value("t"), "=", "x"), clientv3.Compare(clientv3.Version("t"), ">", 0)).
			Then(clientv3.OpPut("t", "y"), clientv3.OpGet("t"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("u", "1")}, nil)).
			Else(clientv3.OpGet("t"), clientv3.OpDelete("t")).Commit()
		check(err)
		t.Header = nil
		fmt.Println("txn", t.Succeeded, t.Responses)
	}
	_, err = c.Txn(ctx).Then(clientv3.OpPut("x", "1"), clientv3.OpPut("x", "2")).Commit()
	fmt.Println("duplicate", err)
	var group sync.WaitGroup
	_, err = c.Put(ctx, "stm", "0")
	check(err)
	for n := 0; n < 8; n++ {
		group.Add(1)
		go func() {
			defer group.Done()
			_, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
				var v int
				fmt.Sscan(s.Get("stm"), &v)
				s.Put("stm", fmt.Sprint(v+1))
				return nil
			})
			check(err)
		}()
	}
	group.Wait()
	g, err := c.Get(ctx, "stm")
	check(err)
	fmt.Println("stm", string(g.Kvs[0].Value))
}

func leases(c *clientv3.Client) {
	l, err := c.Grant(ctx, 3)
	check(err)
	_, err = c.Put(ctx, "leased", "1", clientv3.WithLease(l.ID))
	check(err)
	kept, err := c.KeepAlive(ctx, l.ID)
	check(err)
	for n := 0; n < 4; n++ {
		fmt.Println("kept alive", (<-kept).TTL)
	}
	t, err := c.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys())
	check(err)
	fmt.Printf("time to live %d %v %s\n", t.GrantedTTL, t.TTL > 0, t.Keys)
	_, err = c.Revoke(ctx, l.ID)
	check(err)
	_, more := <-kept
	for more {
		_, more = <-kept
	}
	g, err := c.Get(ctx, "leased")
	check(err)
	fmt.Println("revoked", g.Count)
	_, err = c.Put(ctx, "leased", "1", clientv3.WithLease(12345))
	fmt.Println("no such lease", err)
	_, err = c.Revoke(ctx, 12345)
	fmt.Println("revoke", err)
	_, err = c.KeepAliveOnce(ctx, 12345)
	fmt.Println("keep alive once", err)
}

func watches(c *clientv3.Client) {
	w, stop := context.WithCancel(ctx)
	seen := c.Watch(w, "w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	first := <-seen
	fmt.Println("created", first.Created)
	put := func(k, v string) { _, err := c.Put(ctx, k, v); check(err) }
	put("w/1", "a")
	put("w/1", "b")
	put("other", "x")
	_, err := c.Delete(ctx, "w/1")
	check(err)
	_, err = c.Txn(ctx).Then(clientv3.OpPut("w/2", "c"), clientv3.OpPut("w/3", "d")).Commit()
	check(err)
	for n := 0; n < 5; {
		r := <-seen
		for _, e := range r.Events {
			fmt.Println("event", e.Type, e.IsCreate(), e.Kv, e.PrevKv)
			n++
		}
	}
	check(c.RequestProgress(w))
	r := <-seen
	fmt.Println("progress", r.IsProgressNotify(), r.Header.Revision)
	stop()
	for n := range []int{0, 1, 2} {
		past, stop := context.WithCancel(ctx)
		o := [][]clientv3.OpOption{{}, {clientv3.WithFilterPut()}, {clientv3.WithFilterDelete()}}[n]
		r := <-c.Watch(past, "w/1", append(o, clientv3.WithRev(begin))...)
		fmt.Println("past", len(r.Events), r.Events[0].Type, r.Events[0].Kv)
		stop()
	}
}

func locks(c *clientv3.Client) {
	one, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	check(err)
	two, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	check(err)
	held := concurrency.NewMutex(one, "lock")
	check(held.Lock(ctx))
	waits := concurrency.NewMutex(two, "lock")
	fmt.Println("try", waits.TryLock(ctx))
	done := make(chan error)
	go func() { done <- waits.Lock(ctx) }()
	check(held.Unlock(ctx))
	fmt.Println("lock", <-done)
	check(waits.Unlock(ctx))
	e := concurrency.NewElection(one, "president")
	check(e.Campaign(ctx, "first"))
	l, err := e.Leader(ctx)
	check(err)
	fmt.Println("leader", string(l.Kvs[0].Value))
	check(e.Resign(ctx))
	_, err = e.Leader(ctx)
	fmt.Println("leader", err)
	check(one.Close())
	check(two.Close())
}

func cluster(c *clientv3.Client) {
	p, err := c.Put(ctx, "c", "1")
	check(err)
	_, err = c.Compact(ctx, p.Header.Revision, clientv3.WithCompactPhysical())
	check(err)
	_, err = c.Compact(ctx, p.Header.Revision)
	fmt.Println("compact", err)
	_, err = c.Get(ctx, "c", clientv3.WithRev(1))
	fmt.Println("compacted", err)
	r := <-c.Watch(ctx, "c", clientv3.WithRev(1))
	fmt.Println("watch compacted", r.Err(), r.CompactRevision == p.Header.Revision)
	m, err := c.MemberList(ctx)
	check(err)
	names := []string{}
	for _, member := range m.Members {
		names = append(names, member.Name)
	}
	sort.Strings(names) // they come in the order of their IDs
	fmt.Println("members", names)
	s, err := c.Status(ctx, c.Endpoints()[0])
	check(err)
	fmt.Println("status", s.Leader == s.Header.MemberId, s.DbSize > 0, s.Errors)
}
