package load

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// manyTimes sends a load until its limit.
func manyTimes(t *testing.T, config Config) Result {
	t.Helper()
	load, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(config.Limit + 50*time.Millisecond)
	return load.Stop()
}

func kinds(result Result) map[Kind]int {
	counts := map[Kind]int{}
	for _, request := range result.Requests {
		counts[request.Kind]++
	}
	return counts
}

func TestSlowAnswersDelayNoOtherRequest(t *testing.T) {
	for _, mode := range []Mode{NewConnections, KeepAlive} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			target := serveHTTP(t, func(response http.ResponseWriter, request *http.Request) {
				// Of the first second nothing is answered in time.
				if asked.Add(1) <= 50 {
					<-request.Context().Done()
					return
				}
				hello(response, request)
			})
			result := manyTimes(t, Config{
				Target: target, Source: source(), Mode: mode, Connections: 5, Rate: 50, Limit: 1500 * time.Millisecond,
			})
			if len(result.Requests) != 75 || result.GeneratorFaults != 0 {
				t.Fatalf("%d requests, %d faults (%v)", len(result.Requests), result.GeneratorFaults, result.FirstFault)
			}
			for n, request := range result.Requests {
				if expected := time.Duration(n) * 20 * time.Millisecond; request.Due != expected {
					t.Fatalf("request %d is due at %v instead of %v", n, request.Due, expected)
				}
				expected := Success
				if n < 50 {
					expected = ResponseTimeout
				}
				if request.Kind != expected {
					t.Errorf("request %d: %+v", n, request)
				}
			}
			if result.MaxInFlight < 50 {
				t.Errorf("only %d requests were under way at the same time", result.MaxInFlight)
			}
			if result.MaxLag > 500*time.Millisecond {
				t.Errorf("a request started %v late", result.MaxLag)
			}
		})
	}
}

func TestStopWaitsForWhatIsUnderWay(t *testing.T) {
	target := serveHTTP(t, func(response http.ResponseWriter, request *http.Request) {
		time.Sleep(300 * time.Millisecond)
		hello(response, request)
	})
	load, err := Start(t.Context(), Config{Target: target, Source: source(), Mode: NewConnections, Rate: 20, Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(220 * time.Millisecond)
	result := load.Stop()
	if n := len(result.Requests); n < 3 || n > 5 {
		t.Errorf("%d requests", n)
	}
	if counts := kinds(result); counts[Success] != len(result.Requests) {
		t.Errorf("%v", counts)
	}
}

func TestTheContextEndsALoad(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	load, err := Start(ctx, Config{Target: serveHTTP(t, hello), Source: source(), Mode: NewConnections, Rate: 10, Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-load.sent
	load.Stop()
}

func TestAPortThatIsTakenIsAFaultOfTheGenerator(t *testing.T) {
	address := source()
	// The third port that the load is going to use.
	taken, err := net.Listen("tcp", netip.AddrPortFrom(address, firstPort+2).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	result := manyTimes(t, Config{
		Target: serveHTTP(t, hello), Source: address, Mode: NewConnections, Rate: 20, Limit: 500 * time.Millisecond,
	})
	if result.GeneratorFaults != 1 || result.FirstFault == nil || !strings.Contains(result.FirstFault.Error(), "bind") {
		t.Errorf("%d faults: %v", result.GeneratorFaults, result.FirstFault)
	}
	if counts := kinds(result); counts[Success] != 9 || len(counts) != 1 {
		t.Errorf("%v", counts)
	}
}

func TestALoadThatCannotBeHonestDoesNotStart(t *testing.T) {
	sound := Config{
		Target: netip.MustParseAddrPort("127.0.0.1:1"), Source: source(), Mode: NewConnections, Rate: 60, Limit: time.Minute,
	}
	for name, spoil := range map[string]func(*Config){
		"source ports":            func(config *Config) { config.Limit = 18 * time.Minute },
		"needs a rate":            func(config *Config) { config.Rate = 0 },
		"and a limit":             func(config *Config) { config.Limit = 0 },
		"needs a mode":            func(config *Config) { config.Mode = "" },
		"a number of connections": func(config *Config) { config.Mode = KeepAlive },
	} {
		config := sound
		spoil(&config)
		if _, err := Start(t.Context(), config); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPersistentConnectionsAreSharedInTurn(t *testing.T) {
	var mutex sync.Mutex
	requests := map[string]int{}
	target := serveHTTP(t, func(response http.ResponseWriter, request *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		requests[request.RemoteAddr]++
		hello(response, request)
	})
	result := manyTimes(t, Config{
		Target: target, Source: source(), Mode: KeepAlive, Connections: 4, Rate: 20, Limit: time.Second,
	})
	if counts := kinds(result); counts[Success] != 20 {
		t.Fatalf("%v", counts)
	}
	if len(requests) != 4 {
		t.Errorf("%d connections were used", len(requests))
	}
	for address, count := range requests {
		if count != 5 {
			t.Errorf("%s was used for %d requests", address, count)
		}
	}
}

func TestAConnectionThatTheServerClosedWhileIdleIsReplaced(t *testing.T) {
	var connections atomic.Int32
	target := serve(t, func(connection *net.TCPConn) {
		connections.Add(1)
		// One answer without Connection: close, and then the end.
		answerAfterRequest("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")(connection)
	})
	result := manyTimes(t, Config{
		Target: target, Source: source(), Mode: KeepAlive, Connections: 1, Rate: 10, Limit: 500 * time.Millisecond,
	})
	if counts := kinds(result); counts[Success] != 5 {
		t.Errorf("%v", counts)
	}
	if connections.Load() != 5 {
		t.Errorf("%d connections", connections.Load())
	}
}

func TestARequestOnAConnectionThatBreaksHasFailedAndIsNotRetried(t *testing.T) {
	var connections atomic.Int32
	target := serve(t, func(connection *net.TCPConn) {
		n := connections.Add(1)
		if n == 1 {
			answerAfterRequest("")(connection)
			return
		}
		for range 10 {
			_, _ = connection.Read(make([]byte, 1024))
			_, _ = connection.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
		}
	})
	result := manyTimes(t, Config{
		Target: target, Source: source(), Mode: KeepAlive, Connections: 1, Rate: 10, Limit: 500 * time.Millisecond,
	})
	if counts := kinds(result); counts[ClosedEarly] != 1 || counts[Success] != 4 {
		t.Errorf("%v", counts)
	}
	if connections.Load() != 2 {
		t.Errorf("%d connections", connections.Load())
	}
}

func TestCapacityCountsWhatSucceeds(t *testing.T) {
	slow := serveHTTP(t, func(response http.ResponseWriter, request *http.Request) {
		time.Sleep(50 * time.Millisecond)
		hello(response, request)
	})
	// 8 workers and 50 ms each: at most 160 requests/s.
	capacity, err := Capacity(slow, source(), 8, 500*time.Millisecond)
	if err != nil || capacity < 20 || capacity > 161 {
		t.Errorf("%v requests/s, %v", capacity, err)
	}
	unwilling := serveHTTP(t, func(response http.ResponseWriter, request *http.Request) {
		time.Sleep(10 * time.Millisecond)
		response.WriteHeader(http.StatusServiceUnavailable)
	})
	capacity, err = Capacity(unwilling, source(), 2, 50*time.Millisecond)
	if err != nil || capacity != 0 {
		t.Errorf("%v requests/s succeed where none does, %v", capacity, err)
	}
}

func TestCapacityEndsWithTheLastPort(t *testing.T) {
	began := time.Now()
	client := NewClient(source())
	client.used.Store(allPorts - 10)
	// One of the ten is taken: that is no success, but no reason to stop.
	taken, err := net.Listen("tcp", netip.AddrPortFrom(client.source, 1<<16-5).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	succeeded, fault := client.atFullSpeed(serveHTTP(t, hello), 2, time.Minute)
	if succeeded != 9 || fault == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%d requests in %v, %v", succeeded, time.Since(began), fault)
	}
}

func TestCapacityCannotBeToldFromAnAddressThatIsNotOurs(t *testing.T) {
	if _, err := Capacity(serveHTTP(t, hello), netip.MustParseAddr("192.0.2.1"), 2, 50*time.Millisecond); err == nil {
		t.Error("it can")
	}
}
