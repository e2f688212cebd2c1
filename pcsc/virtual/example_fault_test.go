package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gopcsc/gopcsc/pcsc"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// session is what most examples begin with: a service with a reader, a card in it, and a connection to that.
func session() (*virtual.Service, *virtual.Reader, *pcsc.Context, *pcsc.Card) {
	service := virtual.New()
	reader := service.AddReader("Test Reader")
	reader.Insert(virtual.NewDemoCard())
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		panic(err)
	}
	card, err := pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		panic(err)
	}
	return service, reader, pc, card
}

var (
	selectApp = append([]byte{0x00, 0xA4, 0x04, 0x00, 7}, virtual.DemoAID()...)
	readName  = []byte{0x00, 0xCA, 0x5F, 0x20, 0x00}
	verifyPIN = append([]byte{0x00, 0x20, 0x00, 0x01, 4}, virtual.DemoPIN...)
)

// send sends an APDU and prints what comes of it.
func send(card *pcsc.Card, apdu []byte) {
	response, err := card.Transmit(context.Background(), apdu)
	var e *pcsc.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code.Name())
		return
	}
	fmt.Printf("% X\n", response)
}

// A card is pulled while it works on the third command of a session: it has carried it out, and nobody gets to know.
func ExampleReader_Inject() {
	_, reader, pc, card := session()
	defer pc.Close()
	pulled := reader.Inject(virtual.PullCard(), virtual.Nth(3))
	send(card, selectApp)
	send(card, verifyPIN)
	send(card, readName)
	send(card, readName)
	fmt.Println("struck", pulled.Struck(), "time")
	// Output:
	// 90 00
	// 90 00
	// SCARD_E_NOT_TRANSACTED
	// SCARD_W_REMOVED_CARD
	// struck 1 time
}

// A card is pulled while it checks a PIN. Whether that cost a try, the client has to ask when the card is back.
func ExamplePullCard() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.PullCard(), virtual.APDU(0x00, 0x20))
	send(card, selectApp)
	send(card, verifyPIN)
	reader.Insert(virtual.NewDemoCard())
	send(card, selectApp) // this connection is to the card that was
	// Output:
	// 90 00
	// SCARD_E_NOT_TRANSACTED
	// SCARD_W_REMOVED_CARD
}

// The service has too much to do, whatever it is asked for first.
func ExampleServerTooBusy() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.ServerTooBusy())
	_, err := card.Status(context.Background())
	fmt.Println(errors.Is(err, pcsc.ErrServerTooBusy))
	_, err = card.Status(context.Background())
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// The answer is lost on its way, with any code; the card has carried out the command.
func ExampleLose() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.Lose(pcsc.ErrTimeout), virtual.APDU(0x00, 0x20))
	send(card, selectApp)
	send(card, verifyPIN)
	send(card, readName) // needs the PIN
	// Output:
	// 90 00
	// SCARD_E_TIMEOUT
	// 41 64 61 20 4C 6F 76 65 6C 61 63 65 90 00
}

// Faults of the service strike all its clients.
func ExampleService_Inject() {
	service := virtual.New()
	service.Inject(virtual.ServerTooBusy(), virtual.Times(2))
	for {
		pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
		if errors.Is(err, pcsc.ErrServerTooBusy) {
			fmt.Println("too busy, again")
			continue
		}
		fmt.Println(err)
		pc.Close()
		break
	}
	// Output:
	// too busy, again
	// too busy, again
	// <nil>
}

// A script of faults, as a file for example, can be put into a test's data.
func ExampleParseFaults() {
	_, reader, pc, card := session()
	defer pc.Close()
	faults, err := virtual.ParseFaults(strings.NewReader(`
answer 6982 apdu 00CA # the card has forgotten the PIN
pull-card nth 3
`))
	if err != nil {
		fmt.Println(err)
	}
	for _, fault := range faults {
		reader.Inject(fault)
	}
	send(card, selectApp)
	send(card, readName)
	send(card, readName)
	// Output:
	// 90 00
	// 69 82
	// SCARD_E_NOT_TRANSACTED
}

// PullCard with Before pulls the card between two commands, however many there are in one function of the client.
func ExampleBefore() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.PullCard(), virtual.Before(), virtual.APDU(0x00, 0x20))
	send(card, selectApp)
	send(card, verifyPIN)
	// Output:
	// 90 00
	// SCARD_W_REMOVED_CARD
}

// The reader is unplugged while it is used, and while a program waits for something to happen in it.
func ExampleUnplugReader() {
	service, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.UnplugReader(), virtual.APDU(0x00, 0xCA))
	send(card, selectApp)
	send(card, readName)

	second := service.AddReader("Second Reader")
	second.Inject(virtual.UnplugReader(), virtual.On(virtual.OpGetStatusChange))
	states := []pcsc.ReaderState{{Reader: second.Name(), CurrentState: pcsc.StateEmpty}}
	err := pc.GetStatusChange(context.Background(), states)
	fmt.Println(err, states[0].EventState&pcsc.StateUnknown != 0)
	// Output:
	// 90 00
	// SCARD_E_NOT_TRANSACTED
	// <nil> true
}

// The service ends in the middle of a command, and a program that wants to go on waits for it.
func ExampleStopService() {
	service, reader, pc, card := session()
	defer pc.Close()
	service.Inject(virtual.StopService(), virtual.APDU(0x00, 0xCA))
	send(card, selectApp)
	send(card, readName)
	_, err := pc.ListReaders(context.Background())
	fmt.Println(errors.Is(err, pcsc.ErrNoService))
	service.Start()
	readers, err := pc.ListReaders(context.Background())
	fmt.Println(len(readers), err)
	card, err = pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err == nil {
		send(card, selectApp)
	}
	// Output:
	// 90 00
	// SCARD_F_COMM_ERROR
	// true
	// 1 <nil>
	// 90 00
}

// A crash of the service that is made up for at once: the connection is dead, the next one works.
func ExampleRestartService() {
	service, reader, pc, card := session()
	defer pc.Close()
	service.Inject(virtual.RestartService(0))
	send(card, selectApp)
	send(card, selectApp)
	card, err := pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err == nil {
		send(card, selectApp)
	}
	// Output:
	// SCARD_F_COMM_ERROR
	// SCARD_E_NO_SERVICE
	// 90 00
}

// Another program resets the card between two commands. Transact with RetryAfterReset begins again.
func ExampleResetCard() {
	_, reader, pc, card := session()
	defer pc.Close()
	ctx := context.Background()
	reader.Inject(virtual.ResetCard(), virtual.APDU(0x00, 0xCA))
	runs := 0
	err := card.Transact(ctx, func(tx *pcsc.Transaction) error {
		runs++
		if _, err := tx.Transmit(ctx, selectApp); err != nil {
			return err
		}
		holder, err := tx.Transmit(ctx, readName)
		if err == nil {
			fmt.Printf("%q\n", holder[:len(holder)-2])
		}
		return err
	}, pcsc.RetryAfterReset(1))
	fmt.Println(runs, "runs,", err)
	// Output:
	// "Ada Lovelace"
	// 2 runs, <nil>
}

// A card falls silent until it is reset.
func ExampleMuteCard() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.MuteCard(), virtual.Nth(2))
	send(card, selectApp)
	send(card, readName)
	send(card, readName)
	err := card.Reconnect(context.Background(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.ResetCard)
	fmt.Println(err)
	send(card, selectApp)

	// A card that has no answer to reset is mute from the beginning.
	reader.Remove()
	reader.Inject(virtual.MuteCard(), virtual.On(virtual.OpPowerUp), virtual.Always())
	reader.Insert(virtual.NewDemoCard())
	_, err = pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	fmt.Println(errors.Is(err, pcsc.ErrUnpoweredCard))
	// Output:
	// 90 00
	// SCARD_E_NOT_TRANSACTED
	// SCARD_E_NOT_TRANSACTED
	// <nil>
	// 90 00
	// true
}

// The line between the program and the service breaks: nobody knows whether the command was carried out. This one
// was, and cost the card a try.
func ExampleCommError() {
	service := virtual.New()
	reader := service.AddReader("Test Reader")
	demo := virtual.NewDemoCard()
	reader.Insert(demo)
	pc, err := pcsc.EstablishContext(pcsc.ScopeSystem, pcsc.WithBackend(service))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pc.Close()
	card, err := pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
	if err != nil {
		fmt.Println(err)
		return
	}
	reader.Inject(virtual.CommError(), virtual.APDU(0x00, 0x20))
	send(card, selectApp)
	send(card, []byte{0x00, 0x20, 0x00, 0x01, 4, '9', '9', '9', '9'})
	fmt.Println(demo.Tries(), "tries left")
	// Output:
	// 90 00
	// SCARD_F_COMM_ERROR
	// 2 tries left
}

// Wrong answers: an unexpected status word, half a status word, none at all.
func ExampleAnswer() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.Answer(0x6F, 0x00))
	reader.Inject(virtual.Answer(0x90), virtual.Nth(2))
	reader.Inject(virtual.Answer(), virtual.Nth(3))
	for range 3 {
		response, err := card.Transmit(context.Background(), selectApp)
		fmt.Printf("[% X] %v\n", response, err)
	}
	// Output:
	// [6F 00] <nil>
	// [90] <nil>
	// [] <nil>
}

// An answer that is longer than the command asked for, and one that is longer than the service can carry.
func ExampleOversize() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.Oversize(300))
	reader.Inject(virtual.Oversize(70000), virtual.Nth(2))
	response, err := card.Transmit(context.Background(), selectApp)
	fmt.Println(len(response), err)
	send(card, selectApp)
	// Output:
	// 300 <nil>
	// SCARD_E_NOT_TRANSACTED
}

// Another program has the card for itself at first.
func ExampleSharingViolation() {
	_, reader, pc, _ := session()
	defer pc.Close()
	reader.Inject(virtual.SharingViolation(), virtual.Times(2))
	for range 3 {
		card, err := pc.Connect(context.Background(), reader.Name(), pcsc.ShareShared, pcsc.ProtocolAny)
		if errors.Is(err, pcsc.ErrSharingViolation) {
			fmt.Println("in use")
			continue
		}
		fmt.Println("connected:", card != nil)
	}
	// Output:
	// in use
	// in use
	// connected: true
}

// Any call can fail with any code.
func ExampleFail() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.Fail(pcsc.ErrUnresponsiveCard), virtual.On(virtual.OpReconnect))
	err := card.Reconnect(context.Background(), pcsc.ShareShared, pcsc.ProtocolAny, pcsc.ResetCard)
	fmt.Println(errors.Is(err, pcsc.ErrUnresponsiveCard))
	// Output: true
}

// A card is slow. The documentation of the package has a program that gives up on one: in a testing/synctest bubble, where
// the times can be as long as in real life and a machine that is slow itself does not matter.
func ExampleDelay() {
	_, reader, pc, card := session()
	defer pc.Close()
	reader.Inject(virtual.Delay(20 * time.Millisecond))
	begin := time.Now()
	send(card, selectApp)
	fmt.Println(time.Since(begin) >= 20*time.Millisecond)
	// Output:
	// 90 00
	// true
}

// The test of the package's documentation: a program that gives up after a minute, on a card that takes an hour.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, reader, pc, card := session()
		defer pc.Close()
		reader.Inject(virtual.Delay(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		_, err := card.Transmit(ctx, selectApp)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Minute, time.Since(begin))
	})
}

func TestServerTooBusyForPackagePCSC(t *testing.T) {
	service, _, pc, card := session()
	defer pc.Close()
	service.Inject(virtual.ServerTooBusy())
	_, err := card.Transmit(t.Context(), selectApp)
	require.ErrorIs(t, err, pcsc.ErrServerTooBusy)
	_, err = card.Transmit(t.Context(), selectApp)
	require.NoError(t, err)
}
