// go-zookeeper (github.com/go-zookeeper/zk) against a server: go-zookeeper HOST:PORT. Prints a line a check.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

const wait = 60 * time.Second

var (
	address string
	open    = zk.WorldACL(zk.PermAll)
	input   = bufio.NewReader(os.Stdin)
)

type quiet struct{}

func (quiet) Printf(string, ...interface{}) {}

func connect() (*zk.Conn, <-chan zk.Event, error) {
	made, events, err := zk.Connect([]string{address}, 30*time.Second, zk.WithLogger(quiet{}))
	if err != nil {
		return nil, nil, err
	}
	return made, events, until(events, zk.StateHasSession)
}

// until waits for a state of the session, or says what came instead.
func until(events <-chan zk.Event, state zk.State) error {
	for timeout := time.After(wait); ; {
		select {
		case event := <-events:
			if event.State == state {
				return nil
			}
			if event.State == zk.StateExpired {
				return errors.New("the session expired")
			}
		case <-timeout:
			return fmt.Errorf("no state %v", state)
		}
	}
}

// next waits for a watch's event.
func next(events <-chan zk.Event, kind zk.EventType, path string) error {
	select {
	case event := <-events:
		if event.Type != kind || event.Path != path {
			return fmt.Errorf("%v at %s instead of %v at %s", event.Type, event.Path, kind, path)
		}
		return nil
	case <-time.After(wait):
		return fmt.Errorf("no %v at %s", kind, path)
	}
}

func wants(wanted, found error) error {
	if !errors.Is(found, wanted) {
		return fmt.Errorf("%v instead of %v", found, wanted)
	}
	return nil
}

func basics(conn *zk.Conn, _ <-chan zk.Event) error {
	if _, err := conn.Create("/go", []byte("one"), 0, open); err != nil {
		return err
	}
	data, stat, err := conn.Get("/go")
	if err != nil || string(data) != "one" || stat.Version != 0 || stat.DataLength != 3 {
		return fmt.Errorf("%q %+v %v", data, stat, err)
	}
	if stat, err = conn.Set("/go", []byte("two"), 0); err != nil || stat.Version != 1 {
		return fmt.Errorf("%+v %v", stat, err)
	}
	_, err = conn.Set("/go", nil, 0)
	if err = wants(zk.ErrBadVersion, err); err != nil {
		return err
	}
	path, err := conn.CreateProtectedEphemeralSequential("/go/p-", nil, open)
	if err != nil {
		return err
	}
	if _, stat, err = conn.Exists(path); err != nil || stat.EphemeralOwner != conn.SessionID() {
		return fmt.Errorf("%+v %v", stat, err)
	}
	if _, err = conn.CreateContainer("/go/container", nil, zk.FlagContainer, open); err != nil {
		return err
	}
	if _, err = conn.CreateTTL("/go/ttl", nil, zk.FlagTTL, open, time.Hour); err != nil {
		return err
	}
	names, stat, err := conn.Children("/go")
	if err != nil || len(names) != 3 || stat.NumChildren != 3 {
		return fmt.Errorf("%v %+v %v", names, stat, err)
	}
	if err = wants(zk.ErrNotEmpty, conn.Delete("/go", -1)); err != nil {
		return err
	}
	_, err = conn.Sync("/go")
	return err
}

func watches(conn *zk.Conn, _ <-chan zk.Event) error {
	_, _, created, err := conn.ExistsW("/go/later")
	if err != nil {
		return err
	}
	_, _, children, err := conn.ChildrenW("/go")
	if err != nil {
		return err
	}
	if _, err = conn.Create("/go/later", nil, 0, open); err != nil {
		return err
	}
	if err = errors.Join(next(created, zk.EventNodeCreated, "/go/later"), next(children, zk.EventNodeChildrenChanged, "/go")); err != nil {
		return err
	}
	_, _, changed, err := conn.GetW("/go/later")
	if err != nil {
		return err
	}
	if _, err = conn.Set("/go/later", []byte("x"), -1); err != nil {
		return err
	}
	return next(changed, zk.EventNodeDataChanged, "/go/later")
}

func transactions(conn *zk.Conn, _ <-chan zk.Event) error {
	results, err := conn.Multi(
		&zk.CreateRequest{Path: "/go/multi", Data: []byte("1"), Acl: open},
		&zk.SetDataRequest{Path: "/go/multi", Data: []byte("2"), Version: 0},
		&zk.CheckVersionRequest{Path: "/go/multi", Version: 1},
	)
	if err != nil || len(results) != 3 || results[0].String != "/go/multi" || results[1].Stat.Version != 1 {
		return fmt.Errorf("%+v %v", results, err)
	}
	_, err = conn.Multi(&zk.DeleteRequest{Path: "/go/multi", Version: 1}, &zk.CheckVersionRequest{Path: "/go/none"})
	if err = wants(zk.ErrNoNode, err); err != nil {
		return err
	}
	there, _, err := conn.Exists("/go/multi")
	if !there {
		return fmt.Errorf("half of a transaction was done: %v", err)
	}
	return err
}

func accessControl(conn *zk.Conn, _ <-chan zk.Event) error {
	owner, _, err := connect()
	if err != nil {
		return err
	}
	defer owner.Close()
	if err = owner.AddAuth("digest", []byte("user:secret")); err != nil {
		return err
	}
	if _, err = owner.Create("/go/mine", []byte("1"), 0, zk.DigestACL(zk.PermAll, "user", "secret")); err != nil {
		return err
	}
	_, _, err = conn.Get("/go/mine")
	if err = wants(zk.ErrNoAuth, err); err != nil {
		return err
	}
	_, _, err = owner.Get("/go/mine")
	return err
}

func locks(conn *zk.Conn, _ <-chan zk.Event) error {
	other, _, err := connect()
	if err != nil {
		return err
	}
	defer other.Close()
	var inside, rounds int
	var guard sync.Mutex
	failures := make(chan error, 4)
	for worker := 0; worker < 4; worker++ {
		own := []*zk.Conn{conn, other}[worker%2]
		go func() {
			failures <- func() error {
				for round := 0; round < 10; round++ {
					lock := zk.NewLock(own, "/go/lock", open)
					if err := lock.Lock(); err != nil {
						return err
					}
					guard.Lock()
					inside++
					alone := inside == 1
					guard.Unlock()
					if !alone {
						return errors.New("two hold the lock")
					}
					guard.Lock()
					inside--
					rounds++
					guard.Unlock()
					if err := lock.Unlock(); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for worker := 0; worker < 4; worker++ {
		if err := <-failures; err != nil {
			return err
		}
	}
	if rounds != 40 {
		return fmt.Errorf("%d rounds", rounds)
	}
	return nil
}

// Its parser of srvr fails on every ZooKeeper since 3.6, whose average latency has decimals; the one of cons
// stumbles over the line of its own connection, and goes on.
func fourLetterWords(conn *zk.Conn, _ <-chan zk.Event) error {
	if healthy := zk.FLWRuok([]string{address}, wait); !healthy[0] {
		return errors.New("ruok")
	}
	clients, _ := zk.FLWCons([]string{address}, wait)
	for _, client := range clients[0].Clients {
		if client.SessionID == conn.SessionID() && client.Timeout == 30000 && client.Received > 0 {
			return nil
		}
	}
	return fmt.Errorf("cons: %+v", clients[0])
}

func overARestart(conn *zk.Conn, events <-chan zk.Event) error {
	session := conn.SessionID()
	if _, err := conn.Create("/go/ephemeral", nil, zk.FlagEphemeral, open); err != nil {
		return err
	}
	_, _, created, err := conn.ExistsW("/go/after")
	if err != nil {
		return err
	}
	for drained := false; !drained; {
		select {
		case <-events:
		default:
			drained = true
		}
	}
	fmt.Println("restart")
	if _, err = input.ReadString('\n'); err != nil {
		return err
	}
	if err = until(events, zk.StateHasSession); err != nil {
		return err
	}
	_, stat, err := conn.Exists("/go/ephemeral")
	if err != nil || stat.EphemeralOwner != session || conn.SessionID() != session {
		return fmt.Errorf("%+v %v", stat, err)
	}
	if _, err = conn.Create("/go/after", nil, 0, open); err != nil {
		return err
	}
	return next(created, zk.EventNodeCreated, "/go/after")
}

func main() {
	address = os.Args[1]
	conn, events, err := connect()
	if err != nil {
		fmt.Println("failed connect:", err)
		os.Exit(1)
	}
	for _, check := range []struct {
		name string
		run  func(*zk.Conn, <-chan zk.Event) error
	}{
		{"basics", basics}, {"watches", watches}, {"transactions", transactions}, {"access-control", accessControl},
		{"locks", locks}, {"four-letter-words", fourLetterWords}, {"over-a-restart", overARestart},
	} {
		if err := check.run(conn, events); err != nil {
			fmt.Printf("failed %s: %v\n", check.name, err)
		} else {
			fmt.Printf("ok %s\n", check.name)
		}
	}
	conn.Close()
}
