package conformance

import (
	"fmt"

	"github.com/gopcsc/gopcsc/generated/winscard"
	"github.com/gopcsc/gopcsc/pcsc/virtual"
)

// Virtual is the virtual service.
func Virtual() Environment {
	service := virtual.New()
	service.Stop()
	quirks := usualQuirks()
	quirks.MaxAPDU = winscard.MaxBufferSizeExtended
	quirks.LibraryMax = 65548
	quirks.ATRAttribute = winscard.AttrATRString
	return Environment{
		Backend:  service,
		Service:  VirtualService(service),
		Features: Features{Outages: true, HotPlug: true},
		Quirks:   quirks,
	}
}

// VirtualService makes a Service, and a HotPlugger, of the virtual service.
func VirtualService(service *virtual.Service) Service { return &virtualService{service} }

type virtualService struct {
	service *virtual.Service
}

func (s *virtualService) Start(readers int) {
	s.service.Stop()
	for _, r := range s.service.Readers() {
		s.service.RemoveReader(r)
	}
	for range readers {
		s.AddReader()
	}
	s.service.Start()
}

func (s *virtualService) Stop()    { s.service.Stop() }
func (s *virtualService) Kill()    { s.service.Stop() }
func (s *virtualService) Restart() { s.service.Start() }

func (s *virtualService) Readers() []string {
	names := []string{}
	for _, r := range s.service.Readers() {
		names = append(names, r.Name())
	}
	return names
}

func (s *virtualService) Insert(reader int, card *Card) {
	s.service.Readers()[reader].Insert(virtualCard{card})
}

func (s *virtualService) Remove(reader int) { s.service.Readers()[reader].Remove() }

func (s *virtualService) AddReader() {
	s.service.AddReader(fmt.Sprintf("Virtual Reader %c", 'A'+len(s.service.Readers())))
}

func (s *virtualService) RemoveReader() {
	readers := s.service.Readers()
	s.service.RemoveReader(readers[len(readers)-1])
}

type virtualCard struct{ *Card }

func (c virtualCard) Transmit(apdu []byte) ([]byte, error) { return c.Card.Transmit(apdu), nil }
