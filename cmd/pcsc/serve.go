package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

const serveName = "serve"

func (a *app) serveCommand() *cobra.Command {
	var readers []string
	var socket string
	cmd := &cobra.Command{
		Use:   serveName,
		Short: "Have virtual readers for all programs of this user",
		Long: `Have virtual readers for all programs that use pcsc-lite: on a socket that takes the place of pcscd's, for programs with
the variable PCSCLITE_CSOCK_NAME in their environment. No root, no daemon and no driver is needed.

Without --reader there is one reader, or as many as there are cards; without --card the first one has a demo card. Cards
keep what is written to them until the command ends, which Ctrl-C does.

With --fault things go wrong, once or as often as it says, always at the same point:
  --fault "pull-card apdu 0020"                 the card is pulled when it is asked to check a PIN
  --fault "1: delay 5s always"                  the card in reader 1 is slow
  --fault "server-too-busy on Connect times 3"  the service refuses three connections
` + faultWords + `

The socket lies in a new private folder, or where --socket says; nobody but this user and root can connect to it.`,
		Args: cobra.NoArgs,
		RunE: a.runE(func(ctx context.Context, _ []string) error { return a.serve(ctx, readers, socket) }),
	}
	cmd.Flags().StringArrayVar(&readers, "reader", nil, "`name` of a reader; given again, of the next one")
	cmd.Flags().StringVar(&socket, "socket", "", "`path` of the socket")
	return cmd
}

func (a *app) serve(ctx context.Context, readers []string, socket string) error {
	service, err := a.virtualService(readers)
	if err != nil {
		if f := (*failure)(nil); errors.As(err, &f) {
			return f
		}
		return &failure{exit: exitUsage, what: err.Error(), todo: "see pcsc help serve"}
	}
	return a.listen(ctx, service, socket)
}
