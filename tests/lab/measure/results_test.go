package measure

import (
	"os"
	"strings"
	"testing"
)

// What is published was made from the raw data beside it:
//
//	tests/lab/run --render tests/lab/results/lost-requests.jsonl --svg tests/lab/results/lost-requests.svg
func TestWhatIsPublishedShowsTheRawData(t *testing.T) {
	records, err := readFile("../results/lost-requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if verdict := judge(records); verdict.exitCode() != claimHolds || len(verdict.with) < 10 || len(verdict.without) < 10 {
		t.Errorf("the data does not support the claim with 10 runs each:\n%v", verdict)
	}
	for _, page := range []string{"../../../README.md", "../results/README.md"} {
		if !strings.Contains(read(t, page), table(records)) {
			t.Errorf("put this table into %s:\n\n%s", page, table(records))
		}
	}
	drawn, err := picture(records)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, "../results/lost-requests.svg") != drawn {
		t.Error("the picture is not the one of the data: draw it again")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
