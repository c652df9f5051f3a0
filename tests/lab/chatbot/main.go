// Command chatbot is the application that the lab rolls out: it takes a while to
// start and a moment for each answer, and at SIGTERM it does what most programs do
// that never thought about it, or what they should do.
//
// It is configured by its environment:
//
//	START_SECONDS      how long it takes until it listens, as if it loaded a model (3)
//	WORK_MILLISECONDS  how long each answer takes (50)
//	SHUTDOWN           abrupt: exit at once, whatever is under way (the default);
//	                   graceful: stop listening, finish what is under way, then exit
//	VERSION            what it says about itself; set in its image
package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const address = ":5000"

func main() {
	if err := run(address); err != nil {
		fmt.Fprintln(os.Stderr, "chatbot:", err)
		os.Exit(1)
	}
}

// run returns once the application has been told to end, and may.
func run(address string) error {
	// Process 1 of a container gets no signal that it has no handler for: without
	// this, it would stay until kubelet kills it.
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)

	start, err := number("START_SECONDS", 3)
	if err != nil {
		return err
	}
	work, err := number("WORK_MILLISECONDS", 50)
	if err != nil {
		return err
	}
	shutdown := cmp.Or(os.Getenv("SHUTDOWN"), "abrupt")
	if shutdown != "abrupt" && shutdown != "graceful" {
		return fmt.Errorf("SHUTDOWN is %q: set it to abrupt or graceful", shutdown)
	}

	select {
	case <-time.After(time.Duration(start) * time.Second):
	case <-terminated:
		return nil
	}

	server := &http.Server{Addr: address, Handler: chatbot(time.Duration(work) * time.Millisecond)}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	fmt.Println("listening at", address)

	select {
	case err := <-ended:
		return err
	case <-terminated:
	}
	if shutdown == "graceful" {
		// Without a limit of its own: Kubernetes has one, the grace period.
		return server.Shutdown(context.Background())
	}
	return nil
}

// chatbot answers after some work who it is.
func chatbot(work time.Duration) http.Handler {
	version := cmp.Or(os.Getenv("VERSION"), "unknown")
	// The name of a pod is its hostname.
	pod, _ := os.Hostname()
	return http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		time.Sleep(work)
		response.Header().Set("X-Version", version)
		response.Header().Set("X-Pod", pod)
		fmt.Fprintf(response, "Hello, this is chatbot %s.\n", version)
	})
}

// number is a count from the environment.
func number(variable string, otherwise int) (int, error) {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 0 {
		return 0, fmt.Errorf("%s is %q: set it to a number that is not negative", variable, text)
	}
	return value, nil
}
