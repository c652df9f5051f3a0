package main

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// uses answers what expressions refer to that nothing on the tape has: metrics,
// series with the labels that they select, and labels that they group or match by.
// The empty list says that all is there.
func uses(asked question, recorded *tape) (any, error) {
	complaints := []string{}
	for name, text := range asked.Expressions {
		expression, err := language.ParseExpr(text)
		if err != nil {
			complaints = append(complaints, fmt.Sprintf("%s: %v", name, err))
			continue
		}
		for _, missing := range recorded.missing(expression) {
			complaints = append(complaints, fmt.Sprintf("%s: %s in %s", name, missing, text))
		}
	}
	slices.Sort(complaints)
	return complaints, nil
}

func (t *tape) missing(expression parser.Expr) []string {
	var missing []string
	want := func(label string, below parser.Node) {
		if !t.hasLabel(label, below) {
			missing = append(missing, fmt.Sprintf("no series has the label %q of %s", label, below))
		}
	}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			if len(t.matching(node.LabelMatchers)) == 0 {
				missing = append(missing, fmt.Sprintf("nothing exposes %s", node))
			}
		case *parser.AggregateExpr:
			for _, label := range node.Grouping {
				want(label, node.Expr)
			}
		case *parser.BinaryExpr:
			if node.VectorMatching == nil {
				break
			}
			for _, side := range []parser.Node{node.LHS, node.RHS} {
				for _, label := range node.VectorMatching.MatchingLabels {
					want(label, side)
				}
			}
			for _, label := range node.VectorMatching.Include {
				want(label, node.RHS)
			}
		}
		return nil
	})
	return missing
}

// hasLabel says whether any series that is selected below this node has the label.
func (t *tape) hasLabel(label string, below parser.Node) bool {
	found := false
	parser.Inspect(below, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			found = found || slices.ContainsFunc(t.matching(selector.LabelMatchers), func(series *series) bool {
				return series.labels.Has(label)
			})
		}
		return nil
	})
	return found
}
