// Command lab runs a whole Kubernetes node on this machine, without a container
// engine, and measures in it. See README.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"gapless.dev/tests/lab/image"
	"gapless.dev/tests/lab/measure"
	"gapless.dev/tests/lab/node"
)

// exitUsage is the exit code for bad usage.
const exitUsage = 2

const usage = `usage:
  lab up --target DIRECTORY [COMMAND ARGUMENT...]
        bring a node up; run the command in it, or wait for Ctrl-C; take it down
  lab measure --target DIRECTORY --repository DIRECTORY [-- [durations|probe-periods] OPTION...]
        count in a node the requests that roll-outs lose, or measure how long they
        take, or what probes cost; see its --help
  lab check --target DIRECTORY
        say what this machine lacks for that
  lab pack --name NAME:TAG [--user UID:GID] [--env NAME=VALUE]... PROGRAM ARCHIVE
        pack a static program as a container image
The target directory is Cargo's; tests/lab/build has put all parts there.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(exitUsage)
	}
	arguments := os.Args[2:]
	switch os.Args[1] {
	case "up":
		os.Exit(up(arguments))
	case "measure":
		os.Exit(bringUpAndMeasure(arguments))
	case "measure-here":
		os.Exit(measureHere(arguments))
	case "init":
		os.Exit(node.Init(append([]string{"run"}, arguments...)))
	case "run":
		os.Exit(node.Run(nodeArguments(arguments)))
	case "janitor":
		os.Exit(node.Janitor(arguments[0]))
	case "check":
		tools, _ := nodeArguments(arguments)
		os.Exit(check(tools))
	case "pack":
		os.Exit(pack(arguments))
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(exitUsage)
	}
}

func up(arguments []string) int {
	tools, _ := nodeArguments(arguments)
	return node.Up(tools, append([]string{"init"}, arguments...))
}

// bringUpAndMeasure measures in a node that is there for nothing else. What needs
// no node, such as --help, needs none.
func bringUpAndMeasure(arguments []string) int {
	target, _, options := measureArguments(arguments)
	if !measure.NeedsCluster(options) {
		return measure.Main(options, nil)
	}
	program, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return up(append([]string{"--target", target, "--", program, "measure-here"}, arguments...))
}

// measureHere measures in the node that this process runs in.
func measureHere(arguments []string) int {
	_, repository, options := measureArguments(arguments)
	return measure.Main(options, cluster{repository})
}

// measureArguments are the two directories; all after "--" is for the measurement.
func measureArguments(arguments []string) (target, repository string, options []string) {
	flags := flag.NewFlagSet("lab", flag.ExitOnError)
	flags.StringVar(&target, "target", "target", "")
	flags.StringVar(&repository, "repository", ".", "")
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	// ExitOnError: Parse does not return an error.
	_ = flags.Parse(arguments)
	return target, repository, flags.Args()
}

// nodeArguments are those of up, and of the processes that it starts.
func nodeArguments(arguments []string) (node.Tools, []string) {
	flags := flag.NewFlagSet("lab", flag.ExitOnError)
	target := flags.String("target", "target", "")
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	// ExitOnError: Parse does not return an error.
	_ = flags.Parse(arguments)
	directory, err := filepath.Abs(*target)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(exitUsage)
	}
	return node.ToolsIn(directory), flags.Args()
}

func check(tools node.Tools) int {
	missing := node.Check(tools)
	for _, line := range missing {
		fmt.Println(line)
	}
	if len(missing) > 0 {
		return node.ExitUnable
	}
	return 0
}

func pack(arguments []string) int {
	flags := flag.NewFlagSet("pack", flag.ExitOnError)
	var packed image.Image
	flags.StringVar(&packed.Name, "name", "", "")
	flags.StringVar(&packed.User, "user", "", "")
	flags.Func("env", "", func(variable string) error {
		packed.Environment = append(packed.Environment, variable)
		return nil
	})
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	_ = flags.Parse(arguments)
	if flags.NArg() != 2 {
		flags.Usage()
		return exitUsage
	}
	packed.Program = flags.Arg(0)
	if err := image.Pack(packed, flags.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}
