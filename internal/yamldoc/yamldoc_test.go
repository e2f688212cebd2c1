package yamldoc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDidYouMean(t *testing.T) {
	names := []string{"pbSendBuffer", "pbRecvBuffer", "value", "kind"}
	for name, want := range map[string]string{
		"pbSendBuf":    "pbSendBuffer",
		"pbsendbuffer": "pbSendBuffer",
		"vlaue":        "value",
		"knd":          "kind",
		"x":            "",
		"":             "",
		"value":        "",
		"something":    "",
	} {
		if want != "" {
			want = ` (did you mean "` + want + `"?)`
		}
		require.Equal(t, want, DidYouMean(name, names), name)
	}
}
