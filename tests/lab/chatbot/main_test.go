package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is the chatbot itself in the processes that the tests start.
func TestMain(m *testing.M) {
	if address := os.Getenv("TEST_CHATBOT_ADDRESS"); address != "" {
		if err := run(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// start starts a chatbot with a free port.
func start(t *testing.T, environment ...string) (address string, chatbot *exec.Cmd) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	free.Close()
	chatbot = exec.Command(os.Args[0])
	chatbot.Env = append(os.Environ(), "TEST_CHATBOT_ADDRESS="+address, "VERSION=v1.0")
	chatbot.Env = append(chatbot.Env, environment...)
	if err := chatbot.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = chatbot.Process.Kill()
		_ = chatbot.Wait()
	})
	return address, chatbot
}

// connect waits until the chatbot listens.
func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if connection, err := net.Dial("tcp", address); err == nil {
			t.Cleanup(func() { connection.Close() })
			return connection
		}
	}
	t.Fatal("the chatbot does not listen")
	return nil
}

func ask(t *testing.T, connection net.Conn) {
	t.Helper()
	if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: chatbot\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

// answer is the body, or an error if it does not come completely.
func answer(connection net.Conn) (string, error) {
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", response.Header.Get("X-Version"), " ", string(body)), err
}

func TestItListensAfterItsStartAndSaysWhichVersionItIs(t *testing.T) {
	began := time.Now()
	address, _ := start(t, "START_SECONDS=1", "WORK_MILLISECONDS=100")
	connection := connect(t, address)
	if took := time.Since(began); took < time.Second {
		t.Errorf("it listens after %v", took)
	}
	asked := time.Now()
	ask(t, connection)
	text, err := answer(connection)
	if err != nil || text != "200 v1.0 Hello, this is chatbot v1.0.\n" {
		t.Errorf("it answers %q, %v", text, err)
	}
	if took := time.Since(asked); took < 100*time.Millisecond {
		t.Errorf("the answer took %v", took)
	}
}

func TestAbruptCutsWhatIsUnderWay(t *testing.T) {
	address, chatbot := start(t, "START_SECONDS=0", "WORK_MILLISECONDS=5000")
	connection := connect(t, address)
	ask(t, connection)
	time.Sleep(200 * time.Millisecond)
	terminate(t, chatbot)
	if text, err := answer(connection); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("it answers %q, %v", text, err)
	}
	waitForEnd(t, chatbot, time.Second)
}

func TestGracefulFinishesWhatIsUnderWayAndListensNoMore(t *testing.T) {
	address, chatbot := start(t, "START_SECONDS=0", "WORK_MILLISECONDS=800", "SHUTDOWN=graceful")
	idle, busy := connect(t, address), connect(t, address)
	ask(t, idle)
	if _, err := answer(idle); err != nil {
		t.Fatal(err)
	}
	ask(t, busy)
	time.Sleep(200 * time.Millisecond)
	terminate(t, chatbot)
	time.Sleep(200 * time.Millisecond)

	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection is not refused: %v", err)
	}
	if _, err := answer(idle); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the idle connection is not closed: %v", err)
	}
	if text, err := answer(busy); err != nil || !strings.HasPrefix(text, "200") {
		t.Errorf("what is under way gets %q, %v", text, err)
	}
	waitForEnd(t, chatbot, 2*time.Second)
}

func TestItEndsAtOnceWhileItStarts(t *testing.T) {
	_, chatbot := start(t, "START_SECONDS=60", "SHUTDOWN=graceful")
	time.Sleep(300 * time.Millisecond)
	terminate(t, chatbot)
	waitForEnd(t, chatbot, time.Second)
}

func TestAWrongSettingIsAnError(t *testing.T) {
	for _, setting := range []string{"SHUTDOWN=gracefully", "START_SECONDS=soon", "WORK_MILLISECONDS=-1"} {
		_, chatbot := start(t, setting)
		if err := chatbot.Wait(); err == nil {
			t.Errorf("%s is accepted", setting)
		}
	}
}

func terminate(t *testing.T, chatbot *exec.Cmd) {
	t.Helper()
	if err := chatbot.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// waitForEnd fails if the chatbot ends later than that, or not by itself.
func waitForEnd(t *testing.T, chatbot *exec.Cmd, limit time.Duration) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- chatbot.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(limit):
		t.Errorf("it still runs %v after SIGTERM", limit)
	}
}
